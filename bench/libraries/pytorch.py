"""The works of the bench in PyTorch, for `pytorch.ts`; its argument is the device, cpu or cuda.

A request is a line of JSON on stdin; after "open" come the f32 bytes of its inputs. An answer is a line of JSON on
stdout; after the answer to "results" come the f32 bytes of the results. One work is open at a time. Times are measured here.
"""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F

DEVICE = torch.device(sys.argv[1])


def product(inputs, transposeA, transposeB):
    a, b = inputs["a"], inputs["b"]
    return lambda: [(a.T if transposeA else a) @ (b.T if transposeB else b)]


def sum_of_arrays(inputs):
    return lambda: [inputs["a"] + inputs["b"]]


def rotate(x, table):
    """Applies rotary positions to x, [texts, heads, length, size of a head]."""
    cosine, sine = table.chunk(2, -1)
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


def attend_causally(q, k, v, table, texts, heads, kvHeads):
    tokens, width = q.shape
    q, k, v = (x.view(texts, tokens // texts, -1, width // heads).transpose(1, 2) for x in (q, k, v))
    q, k = rotate(q, table), rotate(k, table)
    k, v = (x.repeat_interleave(heads // kvHeads, 1) for x in (k, v))
    if hasattr(F, "scaled_dot_product_attention"):
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        ahead = torch.full((q.shape[2], q.shape[2]), -math.inf, device=DEVICE).triu(1)
        mixed = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[3]) + ahead, -1) @ v
    return mixed.transpose(1, 2).reshape(tokens, width)


def attend(q, k, v, texts, heads):
    tokens, width = q.shape
    q, k, v = (x.view(texts, tokens // texts, heads, width // heads).transpose(1, 2) for x in (q, k, v))
    if hasattr(F, "scaled_dot_product_attention"):
        mixed = F.scaled_dot_product_attention(q, k, v)
    else:
        mixed = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(width // heads), -1) @ v
    return mixed.transpose(1, 2).reshape(tokens, width)


def attention(inputs, texts, heads):
    q, k, v = (inputs[name] for name in "qkv")
    return lambda: [attend(q, k, v, texts, heads)]


def attention_gradient(inputs, texts, heads):
    q, k, v = (inputs[name].requires_grad_() for name in "qkv")

    def once():
        return torch.autograd.grad(attend(q, k, v, texts, heads).square().sum(), (q, k, v))

    return once


def layer_norm(inputs, epsilon):
    x, gamma, beta = inputs["x"], inputs["gamma"], inputs["beta"]
    return lambda: [F.layer_norm(x, gamma.shape, gamma, beta, epsilon)]


def cross_entropy(inputs, labels):
    logits, labels = inputs["logits"].requires_grad_(), torch.tensor(labels, device=DEVICE)

    def once():
        loss = F.cross_entropy(logits, labels)
        return [loss, *torch.autograd.grad(loss, logits)]

    return once


def adamw(inputs, rate, beta1, beta2, epsilon, maxNorm):
    w = inputs["w"].requires_grad_()
    optimizer = torch.optim.AdamW([w], rate, (beta1, beta2), epsilon, weight_decay=0)

    def once():
        w.grad = inputs["g"].clone()
        torch.nn.utils.clip_grad_norm_([w], maxNorm)
        optimizer.step()
        state = optimizer.state[w]
        return [w, state["exp_avg"], state["exp_avg_sq"]]

    return once


def adapted_linear(w, scale):
    """The layer at a path, with its bias and its adapter if it has them."""

    def linear(path, x):
        y = F.linear(x, w[f"{path}.weight"], w.get(f"{path}.bias"))
        if f"{path}.A" not in w:
            return y
        return y + scale * F.linear(F.linear(x, w[f"{path}.A"]), w[f"{path}.B"])

    return linear


def encode(w, ids, texts, layers, heads, epsilon, scale):
    """The class scores of the encoder of `works/shaped_encoder.ts`; `scale` is the adapters' α/r."""

    linear = adapted_linear(w, scale)

    def norm(path, x):
        return F.layer_norm(x, x.shape[-1:], w[f"{path}.weight"], w[f"{path}.bias"], epsilon)

    words = w["embedding.weight"][ids].view(texts, -1, w["embedding.weight"].shape[1])
    x = norm("embedding.norm", (words + w["positions"][: words.shape[1]]).flatten(0, 1))
    for i in range(layers):
        at = f"layer.{i}."
        q, k, v = (linear(at + name, x) for name in ("query", "key", "value"))
        h = norm(at + "attention.norm", linear(at + "output", attend(q, k, v, texts, heads)) + x)
        x = norm(at + "ffn.norm", linear(at + "ffn_out", F.gelu(linear(at + "ffn_in", h))) + h)
    return linear("head", x.view(texts, -1, x.shape[1]).mean(1))


def encode_use_lite(w, ids, texts, layers, heads, epsilon, scale):
    """The class scores of USE-lite, `lib/models/use_lite.ts`; `scale` is the adapters' α/r."""

    linear = adapted_linear(w, scale)

    def norm(path, x):
        return F.layer_norm(x, x.shape[-1:], w[f"{path}.weight"], w[f"{path}.bias"], epsilon)

    words = 2 * w["embedding.weight"][ids].view(texts, -1, w["embedding.weight"].shape[1])
    x = (words + w["positions"][: words.shape[1]]).flatten(0, 1)
    for i in range(layers):
        at = f"layer.{i}."
        normal = norm(at + "attention.norm", x)
        q, k, v = (linear(f"{at}attention.{name}", normal) for name in ("query", "key", "value"))
        residual = x if i else linear(at + "residual", x)
        h = linear(at + "attention.output", attend(q, k, v, texts, heads)) + residual
        x = linear(at + "ffn.out", F.relu(linear(at + "ffn.in", norm(at + "ffn.norm", h)))) + h
    return linear("head", torch.tanh(linear("pooler", x.view(texts, -1, x.shape[1]).mean(1))))


def decode(w, ids, texts, layers, heads, kvHeads, epsilon, scale):
    """The class scores of the decoder of `works/shaped_decoder.ts`; `scale` is the adapters' α/r."""

    linear = adapted_linear(w, scale)

    def norm(path, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * w[f"{path}.weight"]

    x = w["embedding.weight"][ids]
    for i in range(layers):
        at = f"layer.{i}."
        normal = norm(at + "attention.norm", x)
        q, k, v = (linear(at + name, normal) for name in ("query", "key", "value"))
        h = linear(at + "output", attend_causally(q, k, v, w["rotary"], texts, heads, kvHeads)) + x
        inside = norm(at + "ffn.norm", h)
        x = linear(at + "down", F.silu(linear(at + "gate", inside)) * linear(at + "up", inside)) + h
    return linear("head", norm("norm", x).view(texts, -1, x.shape[1]).mean(1))


def encoder(inputs, ids, shape):
    ids = torch.tensor(ids, device=DEVICE)

    def once():
        with torch.no_grad():
            return [encode(inputs, ids, **shape)]

    return once


def lora_step(inputs, ids, labels, scores, shape, trainable, rate, steps, beta1, beta2, epsilon):
    ids, labels = torch.tensor(ids, device=DEVICE), torch.tensor(labels, device=DEVICE)
    scores = {own.__name__: own for own in (encode, encode_use_lite, decode)}[scores]
    own = [inputs[name].requires_grad_() for name in trainable]
    optimizer = torch.optim.AdamW(own, rate, (beta1, beta2), epsilon, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (steps - step) / steps)

    def once():
        optimizer.zero_grad()
        loss = F.cross_entropy(scores(inputs, ids, **shape), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        return [loss]

    return once


WORKS = (
    product,
    sum_of_arrays,
    attention,
    attention_gradient,
    layer_norm,
    cross_entropy,
    adamw,
    encoder,
    lora_step,
)


def receive(shape):
    data = bytearray(sys.stdin.buffer.read(4 * math.prod(shape)))
    return torch.frombuffer(data, dtype=torch.float32).view(shape).to(DEVICE)


def results(work, times):
    """The results of `times` consecutive runs."""
    runs = [[value.detach().clone() for value in work()] for _ in range(times)]
    return [torch.stack(values).cpu().numpy() for values in zip(*runs)]


def wait():
    """Until the device has done what it was asked to."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def timed(work, times):
    wait()
    start = time.perf_counter()
    for _ in range(times):
        work()
    wait()
    return 1000 * (time.perf_counter() - start)


def main():
    works = {work.__name__: work for work in WORKS}
    work = None
    place = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"{torch.get_num_threads()} threads"
    answer({"version": torch.__version__, "place": place})
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        times = request.get("times", 1)
        if request["do"] == "open":
            inputs = {name: receive(shape) for name, shape in request["inputs"].items()}
            work = works[request["work"]](inputs, **request["options"])
            answer({})
        elif request["do"] == "results":
            found = results(work, times)
            answer({"bytes": [value.nbytes for value in found]}, *found)
        elif request["do"] == "lap":
            answer({"milliseconds": timed(work, times)})


def answer(header, *values):
    out = sys.stdout.buffer
    out.write(json.dumps(header).encode() + b"\n")
    for value in values:
        out.write(value.tobytes())
    out.flush()


main()
