#!/usr/bin/env python3
"""A result file of `w8a8_bench gemm` beside the peers that another program measured on the same model of card.

    bench/anchors/carry_over.py RESULTS.json [ANCHORS.json]

First, how far the cuBLASLt times of the two files lie apart: above 10% the runs cannot be compared. Then our time against the best
fused INT8 kernel of the anchors, by the measured time and carried over by cuBLASLt's FP16 time in both runs, which takes out the
difference between two cards. Exit code 1 where a geometric mean of cuBLASLt is off by more than 10% both in bursts and sustained.
"""
import json
import math
import pathlib
import sys

PEERS = {
    "cublaslt_int8_dequant": "cublaslt_int8_dequant_us",
    "cublaslt_fp16": "cublaslt_fp16_us",
    "cublaslt_fp8": "cublaslt_fp8_tensorwise_us",
    "cublaslt_fp8_rowwise": "cublaslt_fp8_rowwise_us",
}
# The kernels of cublaslt_int8_dequant, each for itself. The anchors hold the product; the rest of their sum is the other kernel.
PRODUCT = "cublaslt_int8_to_s32"


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else float("nan")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())["results"]
    anchors_file = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).parent / "h200_peers.json"
    anchors = {(row["m"], row["n"], row["k"]): row for row in json.loads(anchors_file.read_text())["results"]}
    pairs = [(row, anchors[row["m"], row["n"], row["k"]]) for row in results if (row["m"], row["n"], row["k"]) in anchors]
    if not pairs:
        sys.exit("carry_over.py: no row in common")

    print(f"cuBLASLt here / in the anchors, {len(pairs)} rows")
    off = False
    for peer, key in PEERS.items():
        means = []
        for condition, field in (("burst", "peers"), ("sustained", "peers_sustained")):
            ratios = sorted((row[field][peer] / anchor[key], f"{row['m']}x{row['n']}x{row['k']}")
                            for row, anchor in pairs if row.get(field, {}).get(peer) and anchor.get(key))
            if not ratios:
                continue
            means.append(geometric_mean([ratio for ratio, _ in ratios]))
            within = sum(1 / 1.1 <= ratio <= 1.1 for ratio, _ in ratios)
            print(f"  {peer:22} {condition:9} geometric mean {means[-1]:.3f}, {within} of {len(ratios)} rows within 10%; "
                  f"{ratios[0][0]:.2f} at {ratios[0][1]} to {ratios[-1][0]:.2f} at {ratios[-1][1]}")
        off = off or (means and not any(1 / 1.1 <= mean <= 1.1 for mean in means))

    product, second = [], []
    for row, anchor in pairs:
        alone, there = row.get("peer_parts", {}).get(PRODUCT), anchor.get(PRODUCT + "_us")
        both, both_there = row["peers"].get("cublaslt_int8_dequant"), anchor.get("cublaslt_int8_dequant_us")
        if alone and there and both and both_there and both > alone and both_there > there:
            product.append(alone / there)
            second.append((both - alone) / (both_there - there))
    if product:
        print(f"  of cublaslt_int8_dequant, burst: its product {geometric_mean(product):.3f}, what the second kernel adds "
              f"{geometric_mean(second):.3f} ({len(product)} rows)")

    print("\nbest fused INT8 kernel of the anchors / ours: above 1 we are faster")
    print(f"{'name':11} {'MxNxK':17} {'ours us':>8} {'anchor':>8} {'ratio':>6} {'carried':>8}")
    plain, carried = [], []
    for row, anchor in pairs:
        ratio = anchor["best_int8_us"] / row["us"]
        plain.append(ratio)
        scale = row["peers"]["cublaslt_fp16"] / anchor["cublaslt_fp16_us"] if row["peers"].get("cublaslt_fp16") else float("nan")
        if not math.isnan(scale):
            carried.append(ratio * scale)
        shape = f"{row['m']}x{row['n']}x{row['k']}"
        print(f"{row['name']:11} {shape:17} {row['us']:8.2f} {anchor['best_int8_us']:8.2f} {ratio:6.3f} {ratio * scale:8.3f}")
    print(f"geometric mean {geometric_mean(plain):.3f}, carried over {geometric_mean(carried):.3f}; "
          f"slower in {sum(ratio < 1 for ratio in plain)} of {len(plain)} rows")
    sys.exit(1 if off else 0)


if __name__ == "__main__":
    main()
