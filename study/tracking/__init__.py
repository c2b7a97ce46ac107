"""The record in MLflow: writing, reading, showing. The only folder that imports MLflow."""
