"""Components that are elaborated once, as Verilog modules of their own, and placed as instances.

Their ports keep the names that their members have, and a part that is placed many times costs its
elaboration once.
"""

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib.wiring import Component, In, PureInterface, Signature


def place(m: Module, name: str, module: str, signature: Signature) -> PureInterface:
    """Place an instance of `module` called `name`; return its members to be wired."""
    members = PureInterface(signature, path=(name,))
    wires = {
        f"{'i' if member.flow == In else 'o'}_{'__'.join(map(str, path))}": value
        for path, member, value in signature.flatten(members)
    }
    m.submodules[name] = Instance(module, i_clk=ClockSignal(), i_rst=ResetSignal(), **wires)
    return members


Cells = list[tuple[str, Component]]
"""Module names and the components that are to be elaborated under them."""
