"""The networks that the benchmark of post-training quantization measures. Data only."""

from dataclasses import dataclass

ALL_BITS = (8, 6, 4, 3, 2)
FOUR = (4,)
SEEDS = (0, 1, 2)
FIRST = (0,)
EDSR = "edsr_r8f64_x2"
RNET = "rnet_r9f64_x4"
IMDTN = "imdtn_x4"
DAT = "dat_light_x2"


@dataclass(frozen=True)
class Net:
    """A network.

    Attributes:
        name: in tables and file names.
        weights: checkpoint below ``$SRQUANT_SHARED``, or ``trained/`` and a file in ``$SRQUANT_TRAINED``.
        sets: benchmark sets for all runs.
        four_bit_sets: more sets at 4 bits. Seeds after the first are measured on the first two sets only.
        seeds: of the calibration set at 4 bits; other bits use the first seed only.
        bits: numbers of bits at which rows are measured, if the row is defined for them; see also ``Row.everywhere``.
        attention: whether it has attention; this decides which kinds of layers are quantized.
        published: whether only rows that papers have are measured.
        paper: network and scale of the papers' closest rows, if any.
        note: a remark for the reader of the tables.
    """

    name: str
    weights: str
    sets: tuple[str, ...] = ("Set5", "Set14", "B100")
    four_bit_sets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = FIRST
    bits: tuple[int, ...] = FOUR
    attention: bool = False
    published: bool = False
    paper: tuple[str, int] | None = None
    note: str = ""

    @property
    def scale(self) -> int:
        """Upscaling factor: the end of the name."""
        return int(self.name.rpartition("_x")[2])


NETWORKS = (
    Net(
        EDSR,
        "weights/edsr/edsr_r8f64_x2.pt",
        four_bit_sets=("Urban100",),
        seeds=SEEDS,
        bits=ALL_BITS,
        paper=("EDSR", 2),
        note="EDSR with 8 blocks; the papers' has 16",
    ),
    Net(
        RNET,
        "weights/edsr_like/rnet_r9f64_x4.pth",
        four_bit_sets=("Urban100",),
        seeds=SEEDS,
        bits=ALL_BITS,
        paper=("EDSR", 4),
        note="like EDSR with 9 blocks, ReLU after each sum; the papers' EDSR has 16 blocks",
    ),
    Net("carn_x2", "weights/carn/carn_x2_only.pth", paper=("CARN", 4), note="the papers quantize CARN x4"),
    Net(
        "srresnet_r8f64_x4",
        "weights/srresnet/srresnet_bn_r8f64_x4.pth",
        paper=("SRResNet", 4),
        note="SRResNet with 8 blocks; the papers' has 16",
    ),
    Net("rlfn_x4", "weights/rlfn/rlfn_x4.pth", note="no paper quantizes RLFN"),
    Net(
        IMDTN,
        "weights/imdtn_swin/team09_imdtn_x4.pth",
        attention=True,
        paper=("SwinIR-light", 4),
        note="IMDTN has SwinIR's blocks; the papers quantize SwinIR-light x4",
    ),
    Net(
        "edsr_r16f64_x4",
        "weights/edsr/edsr_r16f64_x4_own.pt",
        bits=(),
        paper=("EDSR", 4),
        note="the papers' network, our own weights",
    ),
    Net(
        "srresnet_r16f64_x4",
        "weights/srresnet/srresnet_bn_r16f64_x4_tanh.pth",
        bits=(),
        paper=("SRResNet", 4),
        note="the papers' network",
    ),
    Net(
        "rdn_x2",
        "weights/rdn/rdn_idealo_D10C3G64_x2.pth",
        sets=("Set5", "Set14"),
        bits=(),
        paper=("RDN", 2),
        note="idealo's RDN with 10 blocks of 3 layers; the papers' has 16 of 8",
    ),
    Net(
        DAT,
        "weights/dat/DAT_light_x2_nobuf.pth",
        sets=("Set5", "Set14"),
        bits=(),
        attention=True,
        note="no paper quantizes DAT",
    ),
    Net(
        "swinir_light_x2",
        "trained/swinir_light_x2.safetensors",
        sets=("Set5", "Set14"),
        attention=True,
        published=True,
        paper=("SwinIR-light", 2),
        note="trained for 18 minutes of one core by `train_swinir_light.py`, far from the published one: its rows show "
        "that the machinery runs",
    ),
)
