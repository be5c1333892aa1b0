"""Implicit neural representations: functions of position and time with trainable weights."""
