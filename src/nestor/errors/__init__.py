"""The exceptions a user can meet; each says what was found, where, and what to do."""


class NestorError(Exception):
    """Base of every error that nestor raises on purpose."""


class SpecError(NestorError):
    """The description of the model is wrong: formula, priors, levels or family."""


class DataError(NestorError):
    """The table does not fit the model: missing columns, bad values, empty groups."""


class UnknownContender(DataError, KeyError):  # noqa: N818 - read as a statement
    """A name fits none of a comparison's contenders, or several; mappings by contender raise it."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would put quotes around it


class Unsupported(NestorError):  # noqa: N818 - the design's word, read as a statement
    """A backend cannot do what was asked, and says why; nothing is degraded quietly."""


class EngineFailed(NestorError):  # noqa: N818
    """An engine crashed, hung or was stopped; the message names it and its log."""


class NestorWarning(UserWarning):
    """Something that works, but that the user should know about, such as a broken plug-in."""


class ConvergenceWarning(NestorWarning):
    """Draws did not pass the convergence gates: do not rely on their summaries."""
