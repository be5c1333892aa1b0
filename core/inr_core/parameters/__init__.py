"""Parameters: how they are declared and read (:mod:`.declare`), and those of every method. None needs torch."""

from inr_core.parameters.declare import DataclassInstance, describe, parameter, parse, plain_name

__all__ = ["DataclassInstance", "describe", "parameter", "parse", "plain_name"]
