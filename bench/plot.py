#!/usr/bin/env python3
"""Draws the result files of one GPU: throughput against M, a roofline, speed-ups. Needs matplotlib.

    bench/plot.py [--results bench/results/h200] [--out docs/img]
"""
import argparse
import json
import math
import pathlib
import sys

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit("plot.py: needs matplotlib (pip install matplotlib)")

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = {  # name in the result files: (label, colour)
    "cublaslt_int8_dequant": ("cuBLASLt INT8 + dequantize", "tab:orange"),
    "cublaslt_fp16": ("cuBLASLt FP16", "tab:gray"),
    "cublaslt_fp8": ("cuBLASLt FP8, one scale a tensor", "tab:green"),
    "cublaslt_fp8_rowwise": ("cuBLASLt FP8, scales a row", "tab:olive"),
}
OURS = "tab:blue"


def load(directory, suite):
    """The result file of a suite, or None where there is none."""
    file = directory / f"{suite}.json"
    if not file.exists():
        print(f"plot.py: no {file}: its plots are left out")
        return None
    document = json.loads(file.read_text())
    if not document["results"]:
        print(f"plot.py: {file} holds no rows: its plots are left out")
        return None
    return document


def layers(document):
    """Rows by layer, those that have more than one M; (n, k) in the key because presets share names."""
    groups = {}
    for row in document["results"]:
        groups.setdefault((row["name"], row["n"], row["k"]), []).append(row)
    return {key: sorted(rows, key=lambda row: row["m"]) for key, rows in groups.items() if len(rows) > 1}


def save(figure, out, name):
    out.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(out / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    print(f"{out / name}.svg")


def tops(row, us):
    return 2.0 * row["m"] * row["n"] * row["k"] / us * 1e-6


def plot_throughput(document, out, name, title):
    """One panel a layer: effective TOPS against M, with the limit and the peers."""
    groups = layers(document)
    columns = min(3, len(groups))
    lines = math.ceil(len(groups) / columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.2 * columns, 3.2 * lines), squeeze=False)
    for axis in axes.flat[len(groups):]:
        axis.set_visible(False)
    for axis, ((layer, n, k), rows) in zip(axes.flat, groups.items()):
        limited = [row for row in rows if row["limit_us"]]
        axis.plot([row["m"] for row in limited], [tops(row, row["limit_us"]) for row in limited], "k--", lw=1, label="limit")
        for peer, (label, colour) in PEERS.items():
            having = [row for row in rows if row["peers"].get(peer)]
            if having:
                axis.plot([row["m"] for row in having], [tops(row, row["peers"][peer]) for row in having], "-", lw=1, color=colour, label=label)
        axis.plot([row["m"] for row in rows], [tops(row, row["us"]) for row in rows], "o-", lw=2, ms=4, color=OURS, label="w8a8, burst")
        sustained = [row for row in rows if row["us_sustained"]]
        axis.plot([row["m"] for row in sustained], [tops(row, row["us_sustained"]) for row in sustained], ":", lw=2, color=OURS,
                  label="w8a8, sustained")
        axis.set(xscale="log", yscale="log", title=f"{layer}: N={n}, K={k}", xlabel="M (tokens)", ylabel="TOPS")
        axis.set_xscale("log", base=2)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=6, loc="lower right")
    figure.suptitle(f"{title}, {document['context']['device']}")
    save(figure, out, name)


def plot_roofline(document, out):
    """Achieved TOPS against operations a byte, under the measured roofs."""
    limits, rows = document["limits"], document["results"]
    peak = max(limits["wgmma_s8_tops"] or 0, limits["mma_sync_s8_tops"] or 0)
    bandwidth = limits["dram_read_gbps"]
    if not peak or not bandwidth:
        print("plot.py: no limits in the file: no roofline")
        return
    intensity = [2.0 * row["m"] * row["n"] * row["k"] / (1e3 * row["gbps"] * row["us"]) for row in rows]
    figure, axis = plt.subplots(figsize=(7, 4.5))
    span = [min(intensity) / 2, max(intensity) * 2]
    ridge = peak / bandwidth * 1e3
    axis.plot([span[0], ridge, span[1]], [span[0] * bandwidth * 1e-3, peak, peak], "k-", lw=1,
              label=f"measured: {bandwidth:.0f} GB/s, {peak:.0f} TOPS")
    for index, (layer, group) in enumerate(by_name(rows).items()):
        points = [(intensity[i], rows[i]["tops"]) for i in group]
        axis.plot(*zip(*points), "o", ms=4, color=f"C{index}", label=layer)
    axis.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="TOPS", title=f"Roofline, {document['context']['device']}, burst")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    save(figure, out, "roofline")


def by_name(rows):
    groups = {}
    for index, row in enumerate(rows):
        groups.setdefault(row["name"], []).append(index)
    return groups


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def plot_speedups(document, out, name, title):
    """Bars: the peers' time over ours, geometric mean over the layers, by M."""
    rows = document["results"]
    sizes = sorted({row["m"] for row in rows})
    peers = [peer for peer in PEERS if any(row["peers"].get(peer) for row in rows)]
    if not peers:
        print(f"plot.py: no peers in the file of {name}: no speed-ups")
        return
    figure, axis = plt.subplots(figsize=(9, 3.8))
    width = 0.8 / len(peers)
    for i, peer in enumerate(peers):
        label, colour = PEERS[peer]
        points = []
        for position, m in enumerate(sizes):
            ratios = [row["peers"][peer] / row["us"] for row in rows if row["m"] == m and row["peers"].get(peer)]
            if ratios:
                points.append((position + (i - (len(peers) - 1) / 2) * width, geometric_mean(ratios)))
        axis.bar(*zip(*points), width=width, color=colour, label=label)
    axis.axhline(1, color="k", lw=1)
    axis.set_xticks(range(len(sizes)), [str(m) for m in sizes])
    axis.set(xlabel="M (tokens)", ylabel="peer's time / ours", title=f"{title}, {document['context']['device']}, burst, geometric mean over layers")
    axis.legend(fontsize=7)
    save(figure, out, name)


def plot_quantize(document, out):
    """Bars: the share of the card's copy bandwidth that each form reaches, by shape; and times where a launch is short."""
    rows = document["results"]
    large = [row for row in rows if row["m"] * row["k"] >= 32 << 20]
    few = [row for row in rows if row["m"] <= 16]
    if not large:
        print("plot.py: quantize.json holds no large rows: its plot is left out")
        return
    forms = list(dict.fromkeys(row["name"] for row in large))
    shapes = sorted({(row["m"], row["k"]) for row in large}, key=lambda shape: shape[1])
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), width_ratios=(2.2, 1))
    width = 0.8 / len(shapes)
    for i, (m, k) in enumerate(shapes):
        points = [(forms.index(row["name"]) + (i - (len(shapes) - 1) / 2) * width, 100 * row["copy_fraction"])
                  for row in large if (row["m"], row["k"]) == (m, k) and row.get("copy_fraction")]
        if points:
            left.bar(*zip(*points), width=width, label=f"{m} x {k}")
    left.axhline(100, color="k", lw=1, ls=":")
    left.axhline(90, color="k", lw=1, ls="--")
    left.set_xticks(range(len(forms)), forms, rotation=45, ha="right", fontsize=7)
    left.set(ylabel="% of the copy bandwidth", title=f"quantizers, half to int8, {document['context']['device']}, burst")
    left.legend(fontsize=6, loc="lower left")
    right.barh([row["name"] for row in few], [row["us"] for row in few], color=OURS)
    right.invert_yaxis()
    right.tick_params(axis="y", labelsize=7)
    right.set(xlabel="microseconds", title="16 x 4096")
    save(figure, out, "quantize")


def plot_dependent(document, out):
    """Time of a layer over that of FP16, with and without dependent launch, one panel a layer."""
    groups = {key: rows for key, rows in layers(document).items() if any(row["peers"].get("cublaslt_fp16") for row in rows)}
    if not groups:
        return
    figure, axis = plt.subplots(figsize=(8, 4))
    for index, ((layer, _, _), rows) in enumerate(groups.items()):
        for key, style in (("us", "o-"), ("us_dependent_launch", "x:")):
            points = [(row["m"], row["peers"]["cublaslt_fp16"] / row[key]) for row in rows if row.get(key) and row["peers"].get("cublaslt_fp16")]
            if points:
                axis.plot(*zip(*points), style, ms=4, lw=1, color=f"C{index}", label=layer if key == "us" else None)
    axis.plot([], [], "kx:", ms=4, lw=1, label="with dependent launch")
    axis.axhline(1, color="k", lw=1)
    axis.set_xscale("log", base=2)
    axis.set(xlabel="M (tokens)", ylabel="cuBLASLt FP16's time / ours", title=f"quantize + gemm(), {document['context']['device']}, burst")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    save(figure, out, "linear_fp16")


def plot_sweep(document, out, name, title):
    """Time against every M."""
    groups = layers(document)
    if not groups:
        return
    figure, axes = plt.subplots(1, len(groups), figsize=(6.5 * len(groups), 3.6), squeeze=False)
    for axis, ((layer, _, _), rows) in zip(axes.flat, groups.items()):
        for peer, (label, colour) in PEERS.items():
            having = [row for row in rows if row["peers"].get(peer)]
            if having:
                axis.plot([row["m"] for row in having], [row["peers"][peer] for row in having], "-", lw=1, color=colour, label=label)
        axis.plot([row["m"] for row in rows], [row["us"] for row in rows], "-", lw=1.5, color=OURS, label="w8a8")
        limited = [row for row in rows if row["limit_us"]]
        axis.plot([row["m"] for row in limited], [row["limit_us"] for row in limited], "k--", lw=1, label="streaming its bytes")
        axis.set(title=layer, xlabel="M (tokens)", ylabel="microseconds")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=7)
    figure.suptitle(f"{title}, {document['context']['device']}")
    save(figure, out, name)


def plot_chain(document, out):
    """Bars: four layers in a graph, with and without dependent launch, beside streaming reads of the same weights."""
    rows = document["results"]
    series = [("plain launches", "tab:cyan", [row["us"] for row in rows]),
              ("dependent launch", OURS, [row.get("us_dependent_launch") or 0 for row in rows]),
              ("streaming reads of the weights", "tab:gray", [row["peers"].get("stream_read") or 0 for row in rows])]
    figure, axis = plt.subplots(figsize=(6, 3.6))
    for i, (label, colour, values) in enumerate(series):
        bars = axis.bar([position + (i - 1) * 0.27 for position in range(len(rows))], values, width=0.27, color=colour, label=label)
        axis.bar_label(bars, fmt="%.1f", fontsize=7)
    axis.set_xticks(range(len(rows)), [f"M = {row['m']}" for row in rows])
    axis.set(ylabel="microseconds", title=f"Llama 3 8B: qkv, o, gate-up, down with quantization, {document['context']['device']}")
    axis.title.set_fontsize(9)
    axis.legend(fontsize=7, loc="lower right")
    save(figure, out, "chain")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench/results/h200")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/img")
    arguments = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "w8a8"  # the same figures give the same files
    matplotlib.rcParams["svg.fonttype"] = "none"
    drawn = 0
    for suite in ("gemm", "gemm_sm80", "quantize", "linear", "sweep", "sweep_sm80", "chain"):
        document = load(arguments.results, suite)
        if document is None:
            continue
        drawn += 1
        if suite == "gemm":
            plot_throughput(document, arguments.out, "gemm_throughput", "gemm()")
            plot_speedups(document, arguments.out, "gemm_speedup", "gemm()")
            plot_roofline(document, arguments.out)
        elif suite == "gemm_sm80":
            plot_throughput(document, arguments.out, "gemm_sm80_throughput", "gemm(), mma.sync kernels")
        elif suite == "linear":
            plot_throughput(document, arguments.out, "linear_throughput", "quantize + gemm()")
            plot_speedups(document, arguments.out, "linear_speedup", "quantize + gemm()")
            plot_dependent(document, arguments.out)
        elif suite == "sweep":
            plot_sweep(document, arguments.out, "sweep", "gemm() at every M")
        elif suite == "sweep_sm80":
            plot_sweep(document, arguments.out, "sweep_sm80", "gemm() at every M, mma.sync kernels")
        elif suite == "chain":
            plot_chain(document, arguments.out)
        else:
            plot_quantize(document, arguments.out)
    if drawn == 0:
        sys.exit(f"plot.py: no result files in {arguments.results}; bench/run_benchmarks.sh writes them")


if __name__ == "__main__":
    main()
