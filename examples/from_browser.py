"""An adapter that was trained in the browser, in Python with PEFT: goes on from a prompt without it and with it.

1. deno task browser, and open /decoder there. Choose a model, a method that PEFT has, such as LoRA, and train.
2. The page then gives the adapter's files. Save them in one folder.
3. pip install peft==0.21.2 transformers==5.24.0 torch==2.13.0 gguf==0.19.0
   python examples/from_browser.py MODEL ADAPTER [PROMPT]

MODEL is what the page has trained on: a folder of transformers, or a .gguf file (deno task models says where smollm2's is).
PEFT has no BoRA, but every BoRA is a LoRA, which this command makes of it:

   deno task export --model MODEL --adapter ADAPTER --format peft --out LORA
"""

import pathlib
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def load_base(path):
    """The model in float32, as the page computes, and its tokenizer. A GGUF file's blocks are unpacked."""
    path = pathlib.Path(path)
    where = [path.parent, {"gguf_file": path.name}] if path.suffix == ".gguf" else [path, {}]
    model = AutoModelForCausalLM.from_pretrained(where[0], dtype=torch.float32, **where[1])
    return model.eval(), AutoTokenizer.from_pretrained(where[0], **where[1])


def continuation(model, tokenizer, prompt, new_tokens=24):
    """What the model writes after the prompt, always the likeliest token, as the page does."""
    given = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    ids = model.generate(**given, max_new_tokens=new_tokens, do_sample=False)
    return tokenizer.decode(ids[0, given.input_ids.shape[1] :], skip_special_tokens=True)


def main(model, adapter, prompt="Definition: a large bird that cannot fly\nKind:"):
    base, tokenizer = load_base(model)
    adapted = PeftModel.from_pretrained(base, adapter).eval()
    with adapted.disable_adapter():
        print(f"before: {prompt}{continuation(adapted, tokenizer, prompt)}")
    print(f"after: {prompt}{continuation(adapted, tokenizer, prompt)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
