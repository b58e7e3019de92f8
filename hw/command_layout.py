"""Commands as Amaranth sees them: the table of ``models.commands`` as a layout."""

from amaranth.lib import data

from moesaic.models.commands import COMMAND_BYTES, Unit, layout


def command_layout(unit: Unit) -> data.StructLayout:
    """Return the 512 bits of a unit's command: its fields by name, and ``padding`` above them."""
    fields: dict[str, int] = {field.name: field.width for field, _ in layout(unit)}
    padding = 8 * COMMAND_BYTES - sum(fields.values())
    return data.StructLayout({**fields, "padding": padding} if padding else fields)
