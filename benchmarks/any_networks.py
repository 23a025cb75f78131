"""Networks for ``any_network.py``: published weights, and spandrel's architectures with random ones. Data only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Random:
    """An architecture of spandrel in a small size.

    Attributes:
        architecture: spandrel's folder.
        module: name of its class.
        sizes: arguments of the class.
    """

    architecture: str
    module: str
    sizes: dict[str, object]


FILES = {
    "Real-ESRGAN anime 6B": "weights/rrdb/RealESRGAN_x4plus_anime_6B_fp16.pth",
    "Compact general x4v3": "weights/srvgg_compact/realesr-general-x4v3_fp16.pth",
    "Compact anime video": "weights/srvgg_compact/realesr-animevideov3.pth",
    "DAT-light x2": "weights/dat/DAT_light_x2_nobuf.pth",
    "DAT-light x4": "weights/dat/DAT_light_x4_nobuf.pth",
    "SRResNet-16": "weights/srresnet/srresnet_bn_r16f64_x4_tanh.pth",
    "MSRResNet": "weights/srresnet/msrresnet_branch1_x4.pth",
    "RDN": "weights/rdn/rdn_idealo_D10C3G64_x2.pth",
    "EDSR": "weights/edsr/edsr_r8f64_x2.pt",
    "RNet": "weights/edsr_like/rnet_r9f64_x4.pth",
    "CARN": "weights/carn/carn_x2_only.pth",
    "RFDN": "weights/rfdn/RFDN_AIM_x4.pth",
    "RLFN": "weights/rlfn/rlfn_x4.pth",
    "SPAN": "weights/span/team46_span_x4.pth",
    "IMDTN": "weights/imdtn_swin/team09_imdtn_x4.pth",
}
"""Real weights below ``$SRQUANT_SHARED``: all native architectures but SwinIR, which is among the random ones."""

WINDOWS: dict[str, object] = {"embed_dim": 24, "num_heads": [2], "mlp_ratio": 2, "upscale": 2}
SWIN: dict[str, object] = {**WINDOWS, "depths": [2], "window_size": 8}
SHUFFLE: dict[str, object] = {"upsampler": "pixelshuffle"}
COLOURS: dict[str, object] = {"num_in_ch": 3, "num_out_ch": 3}
RRDB: dict[str, object] = {"in_nc": 3, "out_nc": 3, "num_filters": 16, "num_blocks": 2, "scale": 4}

RANDOM = {
    "ESRGAN": Random("ESRGAN", "RRDBNet", RRDB),
    "ESRGAN+": Random("ESRGAN", "RRDBNet", {**RRDB, "plus": True}),
    "ESRGAN x2plus": Random("ESRGAN", "RRDBNet", {**RRDB, "in_nc": 12, "shuffle_factor": 2}),
    "Compact": Random("Compact", "SRVGGNetCompact", {**COLOURS, "num_feat": 16, "num_conv": 4, "upscale": 4}),
    "SPAN": Random("SPAN", "SPAN", {**COLOURS, "feature_channels": 16, "upscale": 2}),
    "DAT": Random(
        "DAT",
        "DAT",
        {
            "embed_dim": 24,
            "split_size": [8, 8],
            "depth": [2],
            "num_heads": [2],
            "expansion_factor": 2,
            "upscale": 2,
            **SHUFFLE,
        },
    ),
    "SwinIR": Random("SwinIR", "SwinIR", {**SWIN, **SHUFFLE}),
    "SwinIR light": Random("SwinIR", "SwinIR", {**SWIN, "upsampler": "pixelshuffledirect"}),
    "SwinIR nearest+conv": Random("SwinIR", "SwinIR", {**SWIN, "upscale": 4, "upsampler": "nearest+conv"}),
    "Swin2SR": Random("Swin2SR", "Swin2SR", {**SWIN, **SHUFFLE}),
    "HAT": Random(
        "HAT",
        "HAT",
        {**SWIN, **SHUFFLE, "window_size": 16, "img_size": 64, "compress_ratio": 3, "squeeze_factor": 8},
    ),
    "OmniSR": Random(
        "OmniSR",
        "OmniSR",
        {
            **COLOURS,
            "num_feat": 16,
            "block_num": 1,
            "pe": True,
            "window_size": 8,
            "res_num": 1,
            "up_scale": 2,
            "bias": True,
        },
    ),
    "PLKSR": Random("PLKSR", "PLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "RealPLKSR": Random("PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "RealPLKSR dysample": Random(
        "PLKSR", "RealPLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2, "dysample": True}
    ),
    "RCAN": Random("RCAN", "RCAN", {"scale": 2, "n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4}),
    "GRL": Random(
        "GRL",
        "GRL",
        {
            "img_size": 32,
            "embed_dim": 24,
            "upscale": 2,
            "depths": [2],
            "num_heads_window": [2],
            "num_heads_stripe": [2],
            "window_size": 8,
            "stripe_size": [8, 8],
            "mlp_ratio": 2,
            **SHUFFLE,
        },
    ),
    "ATD": Random(
        "ATD",
        "ATD",
        {**SWIN, "category_size": 64, "num_tokens": 16, "reducted_dim": 4, "upsampler": "pixelshuffledirect"},
    ),
    "DRCT": Random("DRCT", "DRCT", {**SWIN, **SHUFFLE, "gc": 8, "img_size": 32}),
    "RGT": Random("RGT", "RGT", {**WINDOWS, "embed_dim": 96, "depth": [2], "split_size": [8, 8], "img_size": 32}),
    "CRAFT": Random(
        "CRAFT", "CRAFT", {"embed_dim": 96, "depths": [2], "num_heads": [2], "upscale": 2, "window_size": 16}
    ),
    "SAFMN": Random("SAFMN", "SAFMN", {"dim": 16, "n_blocks": 2, "ffn_scale": 2.0, "upscaling_factor": 2}),
    "RealCUGAN x2": Random("RealCUGAN", "UpCunet2x", {"in_channels": 3, "out_channels": 3}),
    "RealCUGAN x3": Random("RealCUGAN", "UpCunet3x", {"in_channels": 3, "out_channels": 3}),
    "RealCUGAN x4": Random("RealCUGAN", "UpCunet4x", {"in_channels": 3, "out_channels": 3}),
    "DITN": Random(
        "DITN",
        "DITN_Real",
        {"dim": 16, "ITL_blocks": 1, "SAL_blocks": 1, "UFONE_blocks": 1, "patch_size": 8, "upscale": 2},
    ),
    "DCTLSA": Random("DCTLSA", "DCTLSA", {"nf": 20, "num_modules": 6, "upscale": 2, "num_head": 5}),
    "FDAT": Random(
        "FDAT",
        "FDAT",
        {"scale": 2, "embed_dim": 24, "num_groups": 1, "depth_per_group": 2, "num_heads": 2, "window_size": 8},
    ),
    "MoSR": Random("MoSR", "MoSR", {"upscale": 2, "n_block": 2, "dim": 16}),
    "MoESR": Random("MoESR", "MoESR", {"scale": 2, "n_blocks": 1, "n_block": 1, "dim": 16}),
    "SeemoRe": Random("SeemoRe", "SeemoRe", {"scale": 2, "num_layers": 2, "embedding_dim": 16}),
    "Swift-SRGAN": Random("SwiftSRGAN", "Generator", {"num_channels": 16, "num_blocks": 2, "upscale_factor": 4}),
    "MMRealSR": Random(
        "MMRealSR", "MMRRDBNet_test", {**COLOURS, "scale": 4, "num_feat": 16, "num_block": 1, "num_grow_ch": 8}
    ),
    "IPT": Random("IPT", "IPT", {}),
    "DnCNN": Random("DnCNN", "DnCNN", {"in_nc": 3, "out_nc": 3, "nc": 16, "nb": 4}),
    "NAFNet": Random(
        "NAFNet",
        "NAFNet",
        {"img_channel": 3, "width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    ),
    "SCUNet": Random("SCUNet", "SCUNet", {"in_nc": 3, "config": [1] * 7, "dim": 16}),
    "DRUNet": Random("DRUNet", "DRUNet", {"in_nc": 3, "out_nc": 3, "nc": [8, 16, 16, 16], "nb": 1}),
}
"""Architectures of spandrel, in the order of how often people use them where that is known."""
