"""The accelerator's parameters: one validated object that RTL, mapper and reports read."""

from dataclasses import dataclass, field, fields
from fractions import Fraction

from moesaic.models.bounds import check_power, check_range
from moesaic.models.errors import InputError
from moesaic.models.gelu_forms import check_gelu
from moesaic.models.numbers import INTEGER, check_numbers

MAX_WORD_BITS = 1 << 15
ARRAY_FORMS = ("unified", "separate")
MAX_SLICES = 256  # of a word: results name theirs by 8 bits


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class NM:
    """N:M sparsity: `n` of every `m` consecutive elements along the contraction are kept."""

    n: int
    m: int

    def __post_init__(self) -> None:
        if self.n not in (1, 2, 4) or self.m not in (4, 8, 16) or self.n >= self.m:
            raise InputError(
                f"sparsity must be N:M with N in 1, 2, 4 and M in 4, 8, 16 and N < M, not {self}"
            )

    @classmethod
    def parse(cls, text: object) -> "NM":
        """Read ``"2:8"``."""
        head, colon, tail = str(text).partition(":")
        if not (colon and head.isdecimal() and tail.isdecimal() and len(head) + len(tail) < 6):
            raise InputError(f"sparsity must be written N:M such as '2:8', not {text!r}")
        return cls(n=int(head), m=int(tail))

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def expansion(self) -> int:
        """Dense elements that one kept element stands for, M / N."""
        return self.m // self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySpec:
    """The standard memory model: read and write channels, each with latency and rate.

    `latency` is in cycles from an accepted address to the first beat; `bytes_per_cycle` is the
    rate of each channel, any fraction such as 56.9.
    """

    latency: int = 32
    bytes_per_cycle: float = 8.0

    def __post_init__(self) -> None:
        check_range("memory.", "latency", self.latency, 4, 4096)
        rate = self.bytes_per_cycle
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.125 <= rate <= 1024:
            raise InputError(f"memory.bytes_per_cycle must be in 0.125..1024, not {rate!r}")

    @property
    def rate(self) -> Fraction:
        """Bytes per cycle as an exact fraction with a denominator of at most 1000."""
        return Fraction(str(self.bytes_per_cycle)).limit_denominator(1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSpec:
    """What the part offers; 0 means not counted."""

    part: str = "none"
    dsp: int = 0
    bram36: int = 0
    uram: int = 0
    lut: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccelSpec:
    """Everything that makes one accelerator differ from another.

    Sizes of buffers are in words per bank; there are `tokens_per_beat` banks, and token ``t``
    lives in bank ``t % tokens_per_beat``.

    Parameters
    ----------
    rows, columns : int
        Array size: `rows` contraction elements times `columns` outputs per beat and token.
    tokens_per_beat : int
        Tokens that share one weight in a cycle (2 shares one DSP48E2 for two int8 products).
    data_bits : int
        8 or 16: width of activations and weights. The residual stream is 16 or 24 bits wide.
    lanes : int
        Elements per cycle of the vector unit.
    sparsity : tuple of NM
        N:M modes that the array can decode, dense apart.
    bus_bytes, outstanding, burst_beats : int
        AXI4 data width, read bursts in flight, longest burst.
    queue_depth : int
        Commands that wait before each unit.
    block_commands : int
        Commands fetched together by the command processor.
    experts : int
        Experts that the routing hardware has queues for; 0 leaves it out.
    gelu : str
        How GELU is computed: ``table``, the difference to ReLU, or ``polynomial``, that of I-BERT.
    arrays : str
        ``unified``: one array serves all products; ``separate``: one of `rows` by `columns` each
        for linear layers, attention and experts, of which one works at a time.
    numbers : str
        ``integer``, or the operands of a machine for training: ``fp16`` or ``bf16``. Its memories
        are those of docs/training.md: X has `act_words`, W `weight_lines`, P `product_words`, V
        `float_words`, L `loaded_words`, S `column_words` and K `sum_words`.
    """

    name: str = "custom"
    rows: int
    columns: int
    tokens_per_beat: int = 1
    data_bits: int = 8
    lanes: int
    sparsity: tuple[NM, ...] = ()
    bus_bytes: int = 8
    outstanding: int = 4
    burst_beats: int = 16
    queue_depth: int = 4
    block_commands: int = 16
    experts: int = 0
    gelu: str = "table"
    arrays: str = "unified"
    numbers: str = INTEGER
    psum_depth: int = 64
    weight_lines: int = 256
    index_lines: int = 0
    param_columns: int = 256
    norm_words: int = 64
    input_words: int = 64
    act_words: int = 512
    vec_words: int = 512
    kv_words: int = 512
    score_words: int = 512
    residual_words: int = 512
    rowstat_rows: int = 256
    product_words: int = 512
    float_words: int = 512
    loaded_words: int = 512
    column_words: int = 256
    sum_words: int = 64
    clock_hz: int = 100_000_000
    memory: MemorySpec = field(default_factory=MemorySpec)
    board: BoardSpec = field(default_factory=BoardSpec)

    def __post_init__(self) -> None:
        check_name(self.name)
        for name, low, high in _POWERS:
            check_power("", name, getattr(self, name), low, high)
        if self.data_bits not in (8, 16):
            raise InputError(f"data_bits must be 8 or 16, not {self.data_bits!r}")
        check_gelu(self.gelu)
        if self.arrays not in ARRAY_FORMS:
            raise InputError(
                f"arrays must be one of {', '.join(ARRAY_FORMS)}, not {self.arrays!r:.60}"
            )
        if self.tokens_per_beat == 2 and self.data_bits == 16:
            raise InputError("tokens_per_beat must be 1 with data_bits 16, not 2")
        if self.tokens_per_beat > self.columns:
            raise InputError(
                f"tokens_per_beat must be at most columns ({self.columns}), "
                f"not {self.tokens_per_beat}"
            )
        check_range("", "index_lines", self.index_lines, 0, 1 << 16)
        if self.sparsity and not self.index_lines:
            raise InputError("index_lines must be at least 1 where sparsity is given, not 0")
        weight_line = self.weight_word * (1 if self.sparsity else self.data_bytes)
        residual_word = self.tokens_per_beat * self.wide_word * self.wide_bytes
        limit = min(weight_line, residual_word, 8 * self.columns, 8 * self.lanes)
        if self.bus_bytes > limit:
            raise InputError(
                f"bus_bytes must be at most {limit} (bytes of a weight or index line and of a "
                f"residual word, 8 * columns and 8 * lanes), not {self.bus_bytes}"
            )
        for mode in self.sparsity:
            if self.rows % mode.n:
                raise InputError(f"rows must be a multiple of N of {mode}, not {self.rows}")
        if self.experts:
            check_power("", "experts", self.experts, 2, 64)
        if self.weight_lines < 2 * self.columns:
            raise InputError(
                f"weight_lines must be at least 2 * columns = {2 * self.columns}, "
                f"not {self.weight_lines}"
            )
        if self.param_columns < 2 * self.columns:
            raise InputError(
                f"param_columns must be at least 2 * columns = {2 * self.columns}, "
                f"not {self.param_columns}"
            )
        check_range("", "clock_hz", self.clock_hz, 1_000_000, 2_000_000_000)
        if self.act_word * self.data_bits > MAX_WORD_BITS:
            raise InputError(
                f"rows * largest M/N * data_bits must be at most {MAX_WORD_BITS}, "
                f"not {self.act_word * self.data_bits}"
            )
        narrowest = min(self.columns, self.lanes)
        if self.act_word > MAX_SLICES * narrowest:
            raise InputError(
                f"rows * largest M/N must be at most {MAX_SLICES * narrowest} ({MAX_SLICES} * "
                f"columns and {MAX_SLICES} * lanes), not {self.act_word}"
            )
        check_numbers(self)

    # ---- widths -------------------------------------------------------------------------------
    @property
    def data_bytes(self) -> int:
        """Bytes of one activation or weight."""
        return self.data_bits // 8

    @property
    def wide_bits(self) -> int:
        """Significant bits of a score, of the residual stream and of GELU's input."""
        return 16 if self.data_bits == 8 else 24

    @property
    def wide_bytes(self) -> int:
        """Bytes that one wide value takes in memory and in the scratchpads."""
        return 2 if self.data_bits == 8 else 4

    @property
    def acc_bits(self) -> int:
        """Bits of a partial sum."""
        return 32 if self.data_bits == 8 else 48

    # ---- sparsity -----------------------------------------------------------------------------
    @property
    def expansion(self) -> int:
        """Largest M / N: dense operands that a beat takes per row."""
        return max((mode.expansion for mode in self.sparsity), default=1)

    @property
    def group_rows(self) -> int:
        """Array rows that share one operand group: the smallest N, or 1 without sparsity."""
        return min((mode.n for mode in self.sparsity), default=1)

    @property
    def group_slots(self) -> int:
        """Operands of a group that an element picks from: the largest M, or 1."""
        return max((mode.m for mode in self.sparsity), default=1)

    # ---- words of the scratchpads, in values --------------------------------------------------
    @property
    def act_word(self) -> int:
        """Values in a word of the input, act and vec scratchpads."""
        return max(self.rows * self.expansion, self.columns, self.lanes)

    @property
    def weight_word(self) -> int:
        """Weights in a word: a line of the array; for training, lines up to a beat of the bus."""
        if self.numbers == INTEGER:
            return self.rows
        return max(self.rows, self.lanes, self.bus_bytes)

    @property
    def wide_word(self) -> int:
        """Values in a word of the score and residual scratchpads."""
        return max(self.columns, self.lanes)

    @property
    def kv_word(self) -> int:
        """Values in a word of the K/V scratchpad; for training, which has none, of X."""
        if self.numbers != INTEGER:
            return self.act_word
        return max(self.rows, self.columns, self.lanes)

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of the full array in one cycle; separate ones work by turns."""
        return self.rows * self.columns * self.tokens_per_beat

    def mode_number(self, nm: NM | None) -> int:
        """Return the code of a weight format in commands: 0 dense, else 1 + place in `sparsity`."""
        return 0 if nm is None else 1 + self.sparsity.index(nm)

    def operands_per_beat(self, nm: NM | None) -> int:
        """Dense operands of one token that one beat consumes."""
        return self.rows if nm is None else self.rows * nm.expansion

    def operands_per_word(self, nm: NM | None) -> int:
        """Dense operands that a word of packed weights stands for."""
        return self.weight_word if nm is None else self.weight_word * nm.expansion


def check_name(name: object) -> None:
    """Refuse names that could not be a file or a module."""
    text = str(name)
    if not text or len(text) > 64 or not all(c.isalnum() or c in "-_" for c in text):
        raise InputError(f"name must be 1 to 64 letters, digits, '-' or '_', not {text[:70]!r}")


_POWERS = (
    ("rows", 4, 256),
    ("columns", 2, 256),
    ("tokens_per_beat", 1, 2),
    ("lanes", 4, 256),
    ("bus_bytes", 4, 64),
    ("outstanding", 1, 32),
    ("burst_beats", 1, 256),
    ("queue_depth", 2, 32),
    ("block_commands", 4, 64),
    ("psum_depth", 8, 4096),
    ("weight_lines", 8, 1 << 16),
    ("param_columns", 8, 1 << 16),
    ("norm_words", 1, 1 << 12),
    ("input_words", 8, 1 << 16),
    ("act_words", 8, 1 << 16),
    ("vec_words", 8, 1 << 16),
    ("kv_words", 8, 1 << 16),
    ("score_words", 8, 1 << 16),
    ("residual_words", 8, 1 << 16),
    ("rowstat_rows", 8, 1 << 16),
    ("product_words", 8, 1 << 16),
    ("float_words", 8, 1 << 16),
    ("loaded_words", 8, 1 << 16),
    ("column_words", 8, 1 << 16),
    ("sum_words", 8, 1 << 16),
)

FIELD_NAMES = tuple(f.name for f in fields(AccelSpec))
