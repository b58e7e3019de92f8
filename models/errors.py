"""The one error that means: the user's input is at fault, and this line says how."""


class InputError(ValueError):
    """Bad input; its text is one line that names the field, the value and what is allowed."""
