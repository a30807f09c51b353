"""Modules: the rule modules of the user, loaded by file path, dotted name or entry point (`load`)."""
