"""Reading the file formats that sources use."""
