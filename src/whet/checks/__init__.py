"""Checks: one file each, named by its id and what it looks for; R recipe, D data, M model, P plan, T training, E after.

A file defines ``check``, which yields a ``Finding`` for whatever looks wrong. What it takes it says by annotation: any
types of ``needs``, or of the data and the model. The first line of the file's docstring says what is wrong, the rest
why that is so, with its source: that is the page of ``whet explain ID``.
"""
