"""Commands as Amaranth sees them: a machine's table of fields as a layout."""

from amaranth.lib import data

from moesaic.models.commands import COMMAND_BYTES, FIELDS, Fields, Unit, layout


def command_layout(unit: Unit, fields: Fields = FIELDS) -> data.StructLayout:
    """Return the 512 bits of a unit's command: its fields by name, and ``padding`` above them."""
    widths: dict[str, int] = {field.name: field.width for field, _ in layout(unit, fields)}
    padding = 8 * COMMAND_BYTES - sum(widths.values())
    return data.StructLayout({**widths, "padding": padding} if padding else widths)
