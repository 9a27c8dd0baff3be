"""check_convert.py PROGRAM WORK: w8a8_convert as its users call it.

Writes little checkpoints with Python's own means, converts them, and reads the results with an independent reader: the weight is
about weight * weight_scale, as the format documents it. Where the package compressed_tensors can be imported, it must dequantize
the result to the same values. Flags and files that cannot be used get exit code 2 and one line on standard error.
"""
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

program, work = sys.argv[1:3]
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what)


# ---- safetensors, by its documentation ---------------------------------------------------------------------------------------
def pack(values, dtype):
    if dtype == "BF16":
        bits = (struct.unpack("<I", struct.pack("<f", v))[0] for v in values)
        return b"".join(struct.pack("<H", (b + 0x7FFF + (b >> 16 & 1)) >> 16) for b in bits)
    return struct.pack("<%d%s" % (len(values), {"F32": "f", "F16": "e", "I8": "b"}[dtype]), *values)


def unpack(data, dtype):
    if dtype == "BF16":
        return [struct.unpack("<f", struct.pack("<I", h[0] << 16))[0] for h in struct.iter_unpack("<H", data)]
    return [v[0] for v in struct.iter_unpack("<" + {"F32": "f", "F16": "e", "I8": "b"}[dtype], data)]


def write(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        packed = pack(values, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    header.pop("__metadata__", None)
    return {n: (e["dtype"], e["shape"], unpack(data[slice(*e["data_offsets"])], e["dtype"])) for n, e in header.items()}


def read_directory(path):
    index = os.path.join(path, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read(os.path.join(path, "model.safetensors"))
    with open(index) as file:
        shards = json.load(file)["weight_map"]
    out = {}
    for shard in sorted(set(shards.values())):
        tensors = read(os.path.join(path, shard))
        check(all(shards[name] == shard for name in tensors), "index of " + shard)
        out.update(tensors)
    check(sorted(out) == sorted(shards), "the index lists all tensors")
    return out


# ---- Calls -------------------------------------------------------------------------------------------------------------------
def run(*arguments):
    return subprocess.run([program, *arguments], cwd=work, capture_output=True, text=True)


def refused(expected, *arguments, code=2):
    result = run(*arguments)
    good = result.returncode == code and result.stdout == "" and result.stderr.count("\n") == 1 and expected in result.stderr
    check(good, "%s: exit code %d, output %r, error %r; expected %r" %
          (arguments, result.returncode, result.stdout, result.stderr, expected))


def accepted(*arguments):
    result = run(*arguments)
    check(result.returncode == 0, "%s: exit code %d, error %r" % (arguments, result.returncode, result.stderr))
    return result


def same_as_ours(path):
    """compressed_tensors, where it is there, dequantizes every layer to code * scale."""
    try:
        import torch
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationConfig
        from safetensors.torch import load_file
    except Exception as error:
        print("compressed_tensors is not used:", error)
        return
    with open(os.path.join(path, "config.json")) as file:
        config = QuantizationConfig.model_validate(json.load(file)["quantization_config"])
    compressor = BaseCompressor.get_value_from_registry(config.format)
    tensors = {}
    for name in os.listdir(path):
        if name.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(path, name)))
    layers = [name[: -len(".weight_scale")] for name in tensors if name.endswith(".weight_scale")]
    for layer in layers:
        weight, scale = tensors[layer + ".weight"], tensors[layer + ".weight_scale"]
        local = {"weight": weight, "weight_scale": scale}
        theirs = compressor.decompress(local, config.config_groups["group_0"])["weight"]
        check(torch.equal(theirs, weight.to(scale.dtype) * scale), "compressed_tensors: " + layer)
    print("compressed_tensors dequantizes %d layers to the same values" % len(layers))


# ---- The checks --------------------------------------------------------------------------------------------------------------
shutil.rmtree(work, ignore_errors=True)
os.makedirs(os.path.join(work, "in"))
random.seed(1)
model = {"model.embed_tokens.weight": ("BF16", [5, 12], [random.gauss(0, 1) for _ in range(60)])}
for layer in range(4):
    for name, rows, dtype in (("q", 6, "BF16"), ("up", 20, "F16"), ("down", 9, "F32")):
        values = [random.gauss(0, 0.1) for _ in range(rows * 12)]
        model["model.layers.%d.%s.weight" % (layer, name)] = (dtype, [rows, 12], values)
    model["model.layers.%d.q.bias" % layer] = ("BF16", [6], [random.gauss(0, 1) for _ in range(6)])
model["lm_head.weight"] = ("BF16", [5, 12], [random.gauss(0, 1) for _ in range(60)])
write(os.path.join(work, "in", "model.safetensors"), model)
with open(os.path.join(work, "in", "config.json"), "w") as file:
    json.dump({"model_type": "llama", "hidden_size": 12}, file)
before = read_directory(os.path.join(work, "in"))

dry = accepted("in", "out", "--dry-run")
check("skipped by 'lm_head'" in dry.stdout and not os.path.exists(os.path.join(work, "out")), "dry run: " + dry.stdout)
result = accepted("in", "out", "--max-shard-size", "500", "--json", "report.json")
check("model.layers.3.down" in result.stdout and "SNR" in result.stdout, "the table: " + result.stdout)
after = read_directory(os.path.join(work, "out"))
with open(os.path.join(work, "report.json")) as file:
    report = json.load(file)
check(report["layers_converted"] == 12 and len(report["shards"]) > 2, "the report")
snr = {layer["name"]: layer for layer in report["layers"]}
for name, (dtype, shape, values) in before.items():
    module = name[: -len(".weight")]
    if ".layers." not in name or name.endswith(".bias"):
        check(after[name] == before[name], name + " stays")
        continue
    codes, scales = after[name], after[name + "_scale"]
    check(codes[:2] == ("I8", shape) and scales[:2] == (dtype, [shape[0], 1]), "form of " + name)
    signal_sum = noise_sum = 0.0
    for row in range(shape[0]):
        scale = scales[2][row]
        for k in range(12):
            value, code = values[row * 12 + k], codes[2][row * 12 + k]
            check(-127 <= code <= 127 and abs(value - code * scale) <= scale, name)
            signal_sum += value * value
            noise_sum += (value - code * scale) ** 2
    check(abs(snr[module]["snr_db"] - 10 * math.log10(signal_sum / noise_sum)) < 1e-6, "SNR of " + name)
with open(os.path.join(work, "out", "config.json")) as file:
    config = json.load(file)
check(config["hidden_size"] == 12, "config.json keeps its entries")
check(config["quantization_config"]["ignore"] == ["model.embed_tokens", "lm_head"], "ignore")
same_as_ours(os.path.join(work, "out"))

again = json.loads(accepted("in", "out", "--max-shard-size", "500", "--json", "-", "--quiet").stdout)
check(again["shards_written"] == 0 and again["layers"] == report["layers"], "a finished run has nothing to do")
refused("is of a conversion with other input, options or version", "in", "out")
refused("the input is never overwritten", "in", "in")
refused("the input is never overwritten", "in", "in/deeper")
refused("model is quantized already", "out", "again")
only = json.loads(accepted("in", "only", "--only", "*.q", "--scale-dtype", "float32", "--json", "-").stdout)
check([layer["name"] for layer in only["layers"]] == ["model.layers.%d.q" % i for i in range(4)], "--only")
check(read_directory(os.path.join(work, "only"))["model.layers.0.q.weight_scale"][0] == "F32", "--scale-dtype")
skip = json.loads(accepted("in", "skip", "--no-default-skip", "--skip", "*.layers.*", "--skip", "*x", "--json", "-").stdout)
check([layer["name"] for layer in skip["layers"]] == ["model.embed_tokens", "lm_head"], "--no-default-skip")

# SmoothQuant: the maxima under the linear's name; the map in a file.
write(os.path.join(work, "maxima.safetensors"), {"b.0.fc": ("F32", [4], [100.0, 1.0, 1.0, 1.0])})
with open(os.path.join(work, "map.json"), "w") as file:
    json.dump([{"norm": "b.{}.ln", "linears": ["b.{}.fc"]}], file)
os.makedirs(os.path.join(work, "pre_norm"))
plain = [0.5, -1.0, 0.25, 1.0, 1.0, 0.5, -0.25, 0.125]
write(os.path.join(work, "pre_norm", "model.safetensors"),
      {"b.0.ln.weight": ("F32", [4], [1.0] * 4), "b.0.fc.weight": ("F32", [2, 4], plain)})
smooth = ("--activation-maxima", "maxima.safetensors", "--smooth-map", "map.json", "--alpha", "0.5")
accepted("pre_norm", "smooth", *smooth, "--quiet")
smoothed = read_directory(os.path.join(work, "smooth"))
norm = smoothed["b.0.ln.weight"][2]
check(abs(norm[0] - 0.1) < 1e-6 and abs(norm[1] - 1.0) < 1e-6, "the norm is divided: %s" % norm)
for row in range(2):
    scale = smoothed["b.0.fc.weight_scale"][2][row]
    for k in range(4):
        code = smoothed["b.0.fc.weight"][2][row * 4 + k]
        check(abs(code * scale * norm[k] - plain[row * 4 + k]) <= 0.51 * scale * norm[k], "the weight is multiplied")
refused("is none whose smoothing rules are known", "pre_norm", "x", "--activation-maxima", "maxima.safetensors")
refused("--alpha", "pre_norm", "x", *smooth[:-1], "1.5")

# Flags and files that cannot be used.
refused("OUT_DIR is required", "in")
refused("not expected: --bogus", "in", "x", "--bogus")
refused("--max-shard-size", "in", "x", "--max-shard-size", "0")
refused("--scale-dtype", "in", "x", "--scale-dtype", "int8")
refused("holds no weight to convert", "in", "x", "--only", "nothing")
refused("is not a directory", "absent", "x")
refused("cannot be opened", "pre_norm", "x", "--smooth-map", "absent.json")
os.makedirs(os.path.join(work, "empty"))
refused("name the one meant", "empty", "x")
os.makedirs(os.path.join(work, "cut"))
with open(os.path.join(work, "in", "model.safetensors"), "rb") as whole:
    with open(os.path.join(work, "cut", "model.safetensors"), "wb") as cut:
        cut.write(whole.read()[:-3])
refused("its data ends at byte", "cut", "x")
os.makedirs(os.path.join(work, "nan"))
write(os.path.join(work, "nan", "model.safetensors"), {"fc.weight": ("F32", [2, 2], [1.0, 2.0, math.nan, 1.0])})
refused("tensor 'fc.weight': row 1 holds a NaN", "nan", "nan_out", "--quiet", code=1)
check(not os.path.exists(os.path.join(work, "x")), "nothing was written")

# Killed at any time, the same call ends up with the same files.
os.makedirs(os.path.join(work, "large"))
values = [random.gauss(0, 1) for _ in range(1 << 16)] * 16
write(os.path.join(work, "large", "model.safetensors"), {"l.%d.weight" % i: ("F32", [1024, 1024], values) for i in range(4)})
call = ["large", "killed", "--max-shard-size", "1MB", "--threads", "1", "--quiet"]
for attempt in range(6):
    process = subprocess.Popen([program, *call], cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.01 * (attempt + 1))
    process.send_signal(signal.SIGKILL)
    process.wait()
accepted(*call)
accepted("large", "whole", *call[2:])
killed, whole = (sorted(os.listdir(os.path.join(work, name))) for name in ("killed", "whole"))
check(killed == whole, "after being killed: %s, in one go: %s" % (killed, whole))
for name in whole:
    with open(os.path.join(work, "killed", name), "rb") as a, open(os.path.join(work, "whole", name), "rb") as b:
        check(a.read() == b.read(), "the same bytes in " + name)

shutil.rmtree(work, ignore_errors=True)
print("%d checks failed" % len(failures) if failures else "all checks passed")
sys.exit(1 if failures else 0)
