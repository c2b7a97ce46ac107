"""The REST service: thin routes over the functions that the command line calls.

The process that answers requests reads no store and computes nothing: it checks who asks, keeps answers and
passes questions on to workers, processes of their own with a time limit, which start when they are needed and
end when they are not. So it is small, starts at once, and a store that hangs holds up nobody but who asks for it.
"""
