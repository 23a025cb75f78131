"""The sentences of each page whose numbers come from ``docs/results/*.json``; see ``prose.py``."""

from collections.abc import Callable, Iterator

from prose import (
    EDSR,
    IMDTN,
    RNET,
    SET5,
    SET14,
    after,
    agreement,
    before,
    best_post_training,
    body_ms,
    both,
    by_patch,
    fab,
    fair,
    psnr,
    quality,
    relation,
    timed,
    trained,
    why,
)

SPEEDS = (
    ("PyTorch float32", "torch", "float32"),
    ("OpenVINO float32", "openvino", "float32"),
    ("OpenVINO bfloat16, its default on this processor", "openvino", "bfloat16"),
    ("ONNX Runtime float32", "onnxruntime", "float32"),
    ("ONNX Runtime, int8 by its own quantizer", "onnxruntime-static", "int8"),
    ("OpenVINO, int8 by NNCF", "openvino-nncf", "int8"),
    ("srquant in ONNX Runtime", "onnxruntime", "int8"),
    ("srquant in OpenVINO, skip connections in float", "openvino", "int8"),
    ("srquant in OpenVINO, skip connections in 8 bits", "openvino-skip8", "int8"),
)
"""Name in README.md, engine and precision in ``engines.json``."""

FIRST = 0
"""The first calibration seed."""


def readme() -> Iterator[str]:
    """README.md."""
    ours, theirs = ([fair(column, bits).partition(" ")[0] for bits in (4, 3, 2)] for column in ("long", "published"))
    yield f"that has {psnr('float', 32)} dB on Set5 has {ours[0]}, {ours[1]} and {ours[2]} dB at 4, 3 and 2 bits"
    yield f"best published post-training method has {theirs[0]}, {theirs[1]} and {theirs[2]} dB"
    yield f"float version has {psnr('float', 32)} dB on Set5 and {psnr('float', 32, on=SET14)} dB on Set14"
    measured = (
        ("8 / 8 | min-max", "minmax W8A8"),
        ("8 / 8 | `tails`, one grid per channel", "tails W8A8, channel grids"),
        ("4 / 4 | min-max", "minmax W4A4"),
        ("4 / 4 | `mse`", "mse W4A4"),
        ("4 / 4 | `mse`, finetuned bounds", "mse W4A4 + finetuning"),
        ("4 / 4 | `mse`, GPTQ rounding", "mse W4A4, compensated"),
        ("4 / 4 | `tails`, one grid per channel, GPTQ rounding", "tails W4A4, channel grids, compensated"),
        ("3 / 3 | `mse`, finetuned bounds", "mse W3A3 + finetuning"),
        ("3 / 3 | `mse`, GPTQ rounding", "mse W3A3, compensated"),
        ("2 / 2 | `mse`, GPTQ rounding", "mse W2A2, compensated"),
    )
    for name, setting in measured:
        row = quality(setting)
        yield f"| {name} | {row['set5_openvino']:.2f} | {row['set14_openvino']:.2f} |"
    for bits in (4, 3, 2):
        yield f"| {bits} / {bits} | `distill`, one grid per tensor | {fair('tensor', bits, sep=' | ')} |"
        crops = " --patch 64" if bits == 4 else ""
        yield f"| {bits} / {bits} | the same, `--effort long{crops}` | {fair('long', bits, sep=' | ')} |"
    yield f"| 3 / 3 | `mse`, GPTAQ rounding | {both('mse, corrected', 3, sep=' | ')} |"
    yield f"relative learning rates, 300 steps of 2 crops | {both('2dquant', 2, sep=' | ')} |"
    yield f"| 2 / 2 | `mse`, GPTAQ rounding | {both('mse, corrected', 2, sep=' | ')} |"
    yield f"bounds by search only, GPTAQ rounding | {both('2dquant DOBI, corrected', 2, sep=' | ')} |"
    yield f"head and tail in float | {after('quantsr', 2)} | {after('quantsr', 2, SET14)} |"
    for name, engine, precision in SPEEDS:
        row = timed(engine, precision)
        ratios = f"{row['vs_openvino_float']:.1f} | {row['vs_openvino_default']:.1f}"
        yield f"| {name} | {row['median_ms']:.0f} | {ratios} |"


def results_readme() -> Iterator[str]:
    """docs/results/README.md."""
    yield f"EDSR with 8 blocks x2 ({psnr('float', 32)})"


def qat_reading() -> Iterator[str]:
    """docs/results/qat_reading.md."""
    best = best_post_training(2)
    yield f"QuantSR reaches {after('quantsr', 2)} with all blocks and {after('quantsr', 2, depth=4)} with half of them"
    yield f"the best post-training row but `distill` has {best}."
    yield f"it has {psnr('distill', 2)}, {psnr('distill', 3)} and {psnr('distill', 4)} at 2, 3 and 4 bits"
    others = {"daq": "DAQ", "odm": "ODM", "pams": "PAMS", "ddtb": "DDTB"}
    listed = [f"{name} ({after(label, 2)})" for label, name in others.items()]
    relations = {relation(after(label, 2), best) for label in others}
    yield f"{', '.join(listed[:-1])} and {listed[-1]} are {' and '.join(relations)} it"
    without = after("quantsr without redistribution, one depth", 2)
    one = after("quantsr, one depth", 2)
    yield f"gains {one - without:.2f} dB if only one depth is trained ({one}; without it {without})"
    yield f"cost {one - after('quantsr', 2):.2f} dB at full depth ({one} to {after('quantsr', 2)})"
    yield f"instead of 0.0002 gives {after('quantsr, fast', 2)}"
    yield (
        f"equally good at three bits ({after('odm', 3)}, {after('quantsr', 3)}) and above all these post-training rows "
        f"({best_post_training(3)} with dynamic ranges, {best_post_training(3, 'static')} with static ones)"
    )
    yield (
        f"At four bits ODM has {after('odm', 4)}, DAQ {after('daq', 4)} and QuantSR {after('quantsr', 4)}. "
        f"Post-training reaches about the same with static ({best_post_training(4, 'static')}) and dynamic ranges "
        f"({best_post_training(4, 'dynamic')})"
    )
    yield f"the result has {after('dorefa', 2)}."
    yield f"From three bits on DoReFa trains ({after('dorefa', 3)}, {after('dorefa', 4)})."
    yield f"CADyQ's layers use {by_patch('cadyq')['fab']:.2f} bits on average, and CABM's {by_patch('cabm')['fab']:.2f}"
    adabm, cabm = by_patch("adabm"), by_patch("cabm")
    ahead = adabm["psnr_y"] - cabm["psnr_y"]
    yield f"AdaBM uses {adabm['fab']:.2f} bits and is the best of the three by {ahead:.2f} dB"
    yield f"which in float has {psnr('float', 32, on='Urban100')} on these 30 pictures"


def ptq_reading() -> Iterator[str]:
    """docs/results/ptq_reading.md."""
    yield from _as_long()
    yield from _learning_rates()
    yield from _finetuning()
    yield from _rounding()
    yield from _adabm_parts()
    yield from _imdtn()


def _as_long() -> Iterator[str]:
    for method in ("gba", "outlier-aware", "2dquant", "adabm"):
        label = method if method == "2dquant" else f"{method} relative"
        yield f"| `{method}`, relative rates | {both(label, seed=0)} | {both(f'{label}, as long as distill')} |"
    yield f"| `distill`, one grid per tensor | | {both('distill', seed=0)} |"
    for method, label in (("2dquant", "2dquant"), ("adabm", "adabm relative")):
        yield f"`{method}` has {both(f'{label}, as long as distill', bits=2)}"
    yield f"and `distill` {both('distill', bits=2, seed=0)}."


def _learning_rates() -> Iterator[str]:
    for name, label in (
        ("without finetuning", "gba without finetuning"),
        ("learning rate 0.0003", "gba learning_rate=0.0003"),
        ("learning rate 0.001", "gba learning_rate=0.001"),
        ("learning rate 0.003", "gba learning_rate=0.003"),
        ("learning rate 0.01, the published one", "gba learning_rate=0.01"),
        ("0.003 times each range (`rates=relative`)", "gba rates=relative learning_rate=0.003"),
    ):
        point = why(label)
        db = point["psnr_y"]
        yield f"| {name} | {db[SET5]:.2f} | {db[SET14]:.2f} | {point['unseen']['l1']:.2f} |"
    below = 37.35 - psnr("gba, a tenth of the rate")
    yield f"three seeds is {both('gba, a tenth of the rate')}: {below:.2f} dB below the bar of 37.35 on Set5"
    for name, published, relative in (
        ("`gba`", "gba", "gba relative"),
        ("`outlier-aware`", "outlier-aware", "outlier-aware relative"),
        ("`minmax`, finetuned", "minmax+FT as published", "minmax+FT"),
    ):
        yield f"| {name} | {both(published)} | {both(relative)} |"
    yield f"| `gba`, static ranges | {both('gba without DAN')} | {both('gba without DAN, relative')} |"
    yield f"| `adabm` | {_with_bits('adabm')} | {_with_bits('adabm relative')} |"
    yield f"`gba` has {both('gba', network=RNET)} with it and {both('gba relative', network=RNET)} with relative rates"
    yield (
        f"{psnr('gba without DAN, uniform, relative')} without it, {psnr('gba w, relative')} for weights, "
        f"{psnr('gba without DAN, relative')} for activations"
    )
    yield (
        f"none {psnr('gba without DAN, uniform, mse ranges')}, weights {psnr('gba w, mse ranges')}, activations "
        f"{psnr('gba without DAN, mse ranges')}, activations and DAN {psnr('gba relative')}, all "
        f"{psnr('gba* relative')}"
    )


def _with_bits(label: str) -> str:
    return f"{both(label)} at {fab(label)} / {fab(label, SET14)} bits"


def _finetuning() -> Iterator[str]:
    start, tuned = why("mse")["unseen"], why("mse+FT")["unseen"]
    yield f"(from {start['l1']:.2f} to {tuned['l1']:.2f} grey levels)"
    yield f"rises (from {start['rms']:.2f} to {tuned['rms']:.2f})"
    yield f"`mse+FT` (finetuned) has {both('mse+FT')}, and `mse` {both('mse')}."
    yield f"keeps the root mean square ({why('mse+FT, squares')['unseen']['rms']:.2f})"
    yield f"than those of `mse` ({why('minmax+FT')['unseen']['rms']:.2f})"
    pairs = [(psnr("minmax+FT", network=net), psnr("mse", network=net)) for net in (RNET, "srresnet_r8f64_x4")]
    yield " (rnet), ".join(f"{tuned} and {start}" for tuned, start in pairs) + " (SRResNet)"


def _rounding() -> Iterator[str]:
    def row(name: str, *labels: str) -> str:
        cells = [both(label, bits, seed=FIRST) for label, bits in zip(labels, (4, 3, 2), strict=True)]
        return f"| {name} | {' | '.join(cells)} |"

    yield row("`mse`", *["mse"] * 3)
    yield row("`mse`, GPTQ", *["mse, compensated"] * 3)
    yield row("`mse`, GPTAQ", *["mse, corrected"] * 3)
    learned = [("outlier-aware relative", 4), ("2dquant", 3), ("2dquant", 2)]
    yield " | ".join(f"{both(label, bits, seed=FIRST)} (`{label}`)" for label, bits in learned)
    yield f"4.00 on average | {both('adabm without I2B')} (`adabm without I2B`)"
    dobi = [both("2dquant DOBI, corrected", bits) for bits in (4, 3, 2)]
    yield f"| `2dquant dqc=false`, GPTAQ | {dobi[0]} | {dobi[1]} | **{dobi[2]}** |"
    channels = quality("tails W4A4, channel grids, compensated")
    yield f"one grid per channel, GPTQ | **{channels['set5']:.2f} / {channels['set14']:.2f}** |"
    yield f"bits chosen per layer) | {both('gba relative', seed=FIRST)} |"
    yield f"| the same, GPTQ | **{both('gba relative, compensated')}** |"

    def gains(label: str, network: str) -> list[str]:
        return [f"{psnr(label + kind, network=network)}" for kind in ("", ", compensated", ", corrected")]

    plain, gptq, gptaq = gains("2dquant DOBI", "carn_x2")
    yield f"on CARN x2 goes from {plain} ({gptq} with GPTQ) to {gptaq}"
    plain, gptq, gptaq = gains("mse", "carn_x2")
    yield f"and `mse` from {plain} ({gptq}) to {gptaq}"
    plain, gptq, gptaq = gains("2dquant DOBI", "rlfn_x4")
    yield f"DOBI on RLFN x4 goes from {plain} ({gptq}) to {gptaq}"
    yield f"reach {psnr('gba without DAN, relative', network='carn_x2')} (`gba` without DAN, relative rates) on CARN"
    yield f"and {psnr('2dquant', network='rlfn_x4')} (`2dquant`) on RLFN"
    at3, at4 = ((psnr("2dquant", bits, seed=FIRST), psnr("2dquant, compensated", bits)) for bits in (3, 4))
    yield f"at 3 bits (`2dquant`, {at3[0]} to {at3[1]}) and harms at 4 ({at4[0]} to {at4[1]})"


def _adabm_parts() -> Iterator[str]:
    labels = ("adabm none", "adabm FT", "adabm I2B+FT", "adabm L2B+FT", "adabm BaC+FT", "adabm", "adabm without FT")
    for on in (SET5, SET14):
        yield f"| {on} | " + " | ".join(f"{psnr(label, on=on)}" for label in labels) + " |"
    yield "| bits | " + " | ".join(f"{fab(label)}" for label in labels) + " |"
    relative, without = "adabm relative, more bits", "adabm without FT"
    yield f"first seed: mean bits {fab(relative, seed=FIRST)} / {fab(relative, SET14, FIRST)}"
    yield f"{psnr(relative)} with {fab(relative)} bits with finetuning"
    yield f"{psnr(without)} with {fab(without)} bits without"


def _imdtn() -> Iterator[str]:
    db = {label: psnr(label, network=IMDTN) for label in ("minmax", "percentile", "2dquant DOBI", "2dquant")}
    yield (
        f"(float {psnr('float', 32, IMDTN)} on Set5) has {db['minmax']} by min-max, {db['percentile']} by "
        f"percentiles, {db['2dquant DOBI']} by 2DQuant's search, and {db['2dquant']} by 2DQuant after 500 steps"
    )
    yield f"({psnr('2dquant DOBI, compensated', network=IMDTN)} with one grid per tensor)"
    best = psnr("gba* relative, matmuls too, weights per channel, corrected", network=IMDTN)
    loss = psnr("float", 32, IMDTN) - best
    yield f"This has {best} in OpenVINO and in PyTorch, {loss:.2f} dB below float"
    yield f"(`gba relative` in the table, with {psnr('gba relative', network=IMDTN)},"


def trained_method(label: str) -> Callable[[], Iterator[str]]:
    """The table of a page in docs/methods about a method that trains weights: before, after, seconds."""

    def sentences() -> Iterator[str]:
        yield f"(float {both('float', 32)})"
        for bits in (4, 3, 2):
            start = " / ".join(f"{before(label, bits, on)}" for on in (SET5, SET14))
            end = " / ".join(f"{after(label, bits, on)}" for on in (SET5, SET14))
            yield f"| {bits} | {start} | {end} | {trained(label, bits)['seconds']:.0f} |"

    return sentences


def chosen_by_patch(name: str) -> Callable[[], Iterator[str]]:
    """The result of CADyQ or CABM on its page."""

    def sentences() -> Iterator[str]:
        row = by_patch(name)
        yield f"EDSR 8x64: {row['psnr_y']:.2f} dB, SSIM {row['ssim_a']:.3f} at FAB {row['fab']:.2f}"

    return sentences


def ranges() -> Iterator[str]:
    """docs/methods/ranges.md."""
    for name, network in (
        ("EDSR 8x64 x2", EDSR),
        ("SRResNet x4", "srresnet_r8f64_x4"),
        ("rnet x4", RNET),
        ("CARN x2", "carn_x2"),
        ("RLFN x4", "rlfn_x4"),
        ("IMDTN x4, linear layers and products", IMDTN),
    ):
        labels = ("2dquant DOBI", "2dquant DOBI, compensated", "2dquant DOBI, corrected")
        db = [psnr(label, network=network, seed=FIRST) for label in labels]
        cells = [f"**{value}**" if value == max(db) else f"{value}" for value in db]
        yield f"| {name} | {psnr('float', 32, network)} | {' | '.join(cells)} |"
    for name, label in (
        ("`minmax`", "minmax"),
        ("`minmax`, `finetune=together`", "minmax+FT"),
        ("`percentile`", "percentile"),
        ("`mse`", "mse"),
        ("`mse`, `finetune=together`", "mse+FT"),
        ("`mse`, `rounding=gptq`", "mse, compensated"),
        ("`tails`", "tails"),
    ):
        yield f"| {name} | {_three_digits(label)} |"
    for bits in (3, 2):
        yield f"from {psnr('mse, compensated', bits)}{' (GPTQ)' * (bits == 3)} to {psnr('mse, corrected', bits)}"
    gains = [psnr("mse, compensated", bits, seed=FIRST) - psnr("mse", bits, seed=FIRST) for bits in (4, 3, 2)]
    yield f"with `mse` {gains[0]:.2f} dB at 4 bits, {gains[1]:.1f} at 3 and {gains[2]:.1f} at 2"


def gba() -> Iterator[str]:
    """docs/methods/gba.md."""
    for name, label in (
        ("`learning_rate=0.001` (4/4MP)", "gba, a tenth of the rate"),
        ("`rates=relative`, `learning_rate=0.003` (4/4MP)", "gba relative"),
        ("the same, `mixed=both` (4MP/4MP)", "gba* relative"),
        ("`rates=relative`, `learning_rate=0.003`, `rounding=gptq` (4/4MP)", "gba relative, compensated"),
        ("static: the same, `ranges=mse`", "gba without DAN, mse ranges"),
    ):
        yield f"| {name} | {both(label, seed=FIRST, sep=' | ')} |"
    yield f"Over three seeds: {both('gba')} with the defaults"
    yield f"{both('gba, a tenth of the rate')} with a tenth of the rate"
    yield f"{both('gba relative')} with relative rates (4MP/4MP: {both('gba* relative')})"
    yield f"(uniform bits: {both('gba without DAN, uniform, mse ranges')})"


def two_d_quant() -> Iterator[str]:
    """docs/methods/two_d_quant.md."""
    for name, label in (
        ("`dqc=false` (DOBI) |", "2dquant DOBI"),
        ("`dqc=false rounding=gptq` |", "2dquant DOBI, compensated"),
        ("`dqc=false rounding=gptaq` |", "2dquant DOBI, corrected"),
    ):
        yield f"| {name} | {_three_digits(label)} |"
        yield f"| {name} | {psnr(label, network=IMDTN):.3f} |"
    yield f"{psnr('2dquant'):.3f} / {psnr('2dquant', on=SET14):.3f} over three seeds"


def adabm() -> Iterator[str]:
    """docs/methods/adabm.md."""
    for name, label in (
        ("defaults", "adabm"),
        ("`finetune=false`", "adabm without FT"),
        ("weight_rate=0.003 feature_weight=0.2`", "adabm relative, more bits"),
        ("the same with `layer_rate=0.015`", "adabm relative"),
    ):
        yield f"{name} | {_three_digits(label)} | {fab(label, SET5, FIRST)} / {fab(label, SET14, FIRST)} |"
    for name, label in (("defaults", "adabm"), ("that", "adabm relative")):
        three = f"{psnr(label):.3f} | {psnr(label, on=SET14):.3f}"
        yield f"| {name}, mean of three seeds | {three} | {fab(label)} / {fab(label, SET14)} |"


def outlier_aware() -> Iterator[str]:
    """docs/methods/outlier_aware.md."""
    yield f"`plq=false finetune=none` (min-max) | {psnr('minmax', seed=FIRST)} |"
    for name, label in (
        ("`finetune=none` (PLQ alone)", "outlier-aware PLQ"),
        ("as published", "outlier-aware"),
        ("the same with `weights=omse`", "outlier-aware relative"),
    ):
        yield f"{name} | {both(label, seed=FIRST, sep=' | ')} |"
    published, ours = psnr("minmax+FT as published"), psnr("minmax+FT", seed=FIRST)
    yield f"`minmax` reaches {published} dB on Set5 with AdaBM's published recipe, {ours} with ours"


def ptq4sr() -> Iterator[str]:
    """docs/methods/ptq4sr.md."""
    yield f"| defaults | {_three_digits('ptq4sr')} |"
    yield f"| `weights=per_channel` | {_three_digits('ptq4sr per channel')} |"


def _three_digits(label: str) -> str:
    return f"{psnr(label, seed=FIRST):.3f} | {psnr(label, on=SET14, seed=FIRST):.3f}"


def gpu_reading() -> Iterator[str]:
    """``docs/results/gpu_reading.md``."""
    ratio = body_ms("float16, compiled (max-autotune)", "180x320") / body_ms("triton", "180x320")
    yield f"At 180x320 the body of EDSR 16x64 takes {ratio:.1f} times less time than float16 compiled"
    same = {agreement("ptq4sr", engine)["equal"] for engine in ("torch", "triton")}
    yield f"A static network (`ptq4sr`) gives {'the same' if same == {1.0} else 'another'} 8-bit picture on the CPU"
    dynamic = agreement("gba", "torch")
    yield f"differ by {dynamic['largest']} grey level at {100 * (1 - dynamic['equal']):.0f} % of the pixels"


SENTENCES: dict[str, Callable[[], Iterator[str]]] = {
    "README.md": readme,
    "docs/results/README.md": results_readme,
    "docs/results/qat_reading.md": qat_reading,
    "docs/results/ptq_reading.md": ptq_reading,
    "docs/results/gpu_reading.md": gpu_reading,
    "docs/methods/ranges.md": ranges,
    "docs/methods/ptq4sr.md": ptq4sr,
    "docs/methods/adabm.md": adabm,
    "docs/methods/outlier_aware.md": outlier_aware,
    "docs/methods/gba.md": gba,
    "docs/methods/two_d_quant.md": two_d_quant,
    "docs/methods/cadyq.md": chosen_by_patch("cadyq"),
    "docs/methods/cabm.md": chosen_by_patch("cabm"),
    **{f"docs/methods/{label}.md": trained_method(label) for label in ("dorefa", "pams", "daq", "ddtb", "odm")},
}
"""Sentences by page."""

COMPLETE = (
    "README.md",
    "docs/results/README.md",
    "docs/results/qat_reading.md",
    "docs/results/ptq_reading.md",
    "docs/results/gpu_reading.md",
)
"""Pages whose every number that looks like PSNR must be in a sentence above, or in one of those below."""

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "docs/results/gpu_reading.md": (),
    "README.md": (  # srquant demo
        "| bicubic | 33.09 |",
        "| float (half precision on disk) | 35.87 |",
        "| 8-bit | 35.83 |",
        "| 4-bit min-max | 34.42 |",
        "| 4-bit finetuned | 35.32 |",
    ),
    "docs/results/README.md": ("(32.10, 32.24, 31.95, 31.86, 32.45 dB on Set5 x4)",),  # the papers
    "docs/results/qat_reading.md": ("edge scores from 25.11 to 184.38",),
    "docs/results/ptq_reading.md": (
        "| 36.62 / 32.55 | 34.98 / 31.56 |",
        "| `tails`, one grid per channel, GPTAQ | 37.32 / 33.00 | **36.72 / 32.61** | 35.57 / 31.91 |",
        "| paper, Set5 | 28.70 | 29.02 | 29.18 | 30.47 | 30.68 | 31.02 | 30.00 |",
        "200 steps of 2 crops with relative rates already reach 31.24",
        "This has 31.38, and 31.43 after 300 steps of 2 crops",
        "With `--set rounding=gptq` it has 31.61",
        "it has 31.71; with weights of 8 bits and activations of 4 bits 31.62",
        "(only the inputs of linear layers at 4 bits: 31.76; only the operands of matrix products: 31.92",
        "it has 31.84; without GPTAQ 31.76",
        "the best result with integer layers stays 31.61",
        "37.34 dB on Set5 instead of 37.27 at W4A4, 36.52 instead of 35.98 at W3A3, and 34.54 instead of 20.90 at W2A2",
    ),
}
"""Parts of these pages whose numbers no JSON file has: the papers' numbers, and results of commands on the page."""
