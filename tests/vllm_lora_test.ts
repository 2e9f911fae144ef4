/**
 * What vLLM asks of a LoRA's folder, requirement by requirement, each with the place in vllm-project/vllm that asks it, as of 2026;
 * exports of decoders meet them. vLLM itself does not run here.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { saveAdapter } from "../lib/adapters/peft.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { type NamedTensor, readSafetensors } from "../lib/models/safetensors.ts";
import { exportAdapter } from "../lib/train/export_folder.ts";
import { adviceOnVllm } from "../tasks/vllm_ranks.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { exportBases, exportCases, trainedCase } from "./support/peft_exports.ts";

/** `adapter_config.json`, as far as it counts. */
interface Config extends Record<string, unknown> {
  r: number;
  lora_alpha: number;
  target_modules: string | string[];
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
}

/** A folder's files. */
interface Folder {
  readonly config: Config;
  readonly tensors: Map<string, Pick<NamedTensor, "shape" | "dtype">>;
}

interface Requirement {
  readonly what: string;
  /** Where vLLM asks it. */
  readonly source: string;
  isMet(folder: Folder): boolean;
  /** Changes a folder that meets it into one that does not. */
  spoil(folder: Folder): void;
}

/** The last parts of modules that vLLM's LLaMA has, one by one or packed (vllm/model_executor/models/llama.py). */
const modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

const pattern = /^base_model\.model\.(.+)\.(lora_[AB])\.weight$/;

function pathsOf({ tensors }: Folder): string[] {
  return [...new Set([...tensors.keys()].map((name) => pattern.exec(name)?.[1] ?? name))];
}

function rankIn({ tensors }: Folder, path: string): number | undefined {
  return tensors.get(`base_model.model.${path}.lora_A.weight`)?.shape[0];
}

/** PEFT's own value for a layer (peft/utils/other.py, get_pattern_key): that of the first pattern that its path matches. */
function valueFor(patterns: Record<string, number>, path: string, otherwise: number): number {
  const found = Object.entries(patterns).find(([key]) => new RegExp(`^(.*\\.)?(${key})$`).test(path));
  return found?.[1] ?? otherwise;
}

const requirements: readonly Requirement[] = [
  {
    what: "r, lora_alpha and target_modules are there",
    source: "vllm/lora/peft_helper.py, PEFTHelper: fields without a default, and from_dict",
    isMet: ({ config: { r, lora_alpha, target_modules } }) =>
      Number.isInteger(r) && Number.isInteger(lora_alpha) && [target_modules].flat().length > 0,
    spoil: ({ config }) => void Reflect.deleteProperty(config, "lora_alpha"),
  },
  {
    what: "modules_to_save is empty",
    source: "vllm/lora/peft_helper.py, _validate_features",
    isMet: ({ config }) => config.modules_to_save === null,
    spoil: ({ config }) => void (config.modules_to_save = ["lm_head"]),
  },
  {
    what: "it is no DoRA",
    source: "vllm/lora/peft_helper.py, _validate_features",
    isMet: ({ config, tensors }) =>
      !config.use_dora && ![...tensors.keys()].some((name) => name.includes("magnitude")),
    spoil: ({ config }) => void (config.use_dora = true),
  },
  {
    what: "it has no biases",
    source: "vllm/lora/peft_helper.py, bias: Literal['none']; lora/utils.py, parse_fine_tuned_lora_name",
    isMet: ({ config, tensors }) =>
      config.bias === "none" && config.lora_bias === false &&
      ![...tensors.keys()].some((name) => name.endsWith(".bias")),
    spoil: ({ config }) => void (config.bias = "all"),
  },
  {
    what: "no tokens are trained beside it",
    source: "vllm/lora/peft_helper.py, trainable_token_indices",
    isMet: ({ config }) => config.trainable_token_indices === null,
    spoil: ({ config }) => void (config.trainable_token_indices = [1]),
  },
  {
    what: "the scale is alpha / r for every layer: vLLM reads no patterns",
    source: "vllm/lora/peft_helper.py, vllm_lora_scaling_factor; lora/lora_weights.py, from_config",
    isMet: (folder) => {
      const { r, lora_alpha, use_rslora, rank_pattern = {}, alpha_pattern = {} } = folder.config;
      return !use_rslora &&
        pathsOf(folder).every((path) =>
          valueFor(alpha_pattern, path, lora_alpha) / valueFor(rank_pattern, path, r) === lora_alpha / r
        );
    },
    spoil: (folder) => void (folder.config.alpha_pattern = { [pathsOf(folder)[0]]: 0.5 }),
  },
  {
    what: "no layer's rank is above r, and each is that which PEFT reads",
    source: "vllm/lora/layers/base_linear.py, set_lora: buffers of max_lora_rank rows",
    isMet: (folder) => {
      const { r, rank_pattern = {} } = folder.config;
      return pathsOf(folder).every((path) => {
        const rank = rankIn(folder, path);
        return rank !== undefined && rank <= r && rank === valueFor(rank_pattern, path, r);
      });
    },
    spoil: ({ config }) => void (config.r = 1),
  },
  {
    what: "r is one that --max-lora-rank can be",
    source: "vllm/config/lora.py, MaxLoRARanks",
    isMet: ({ config: { r } }) => /^vLLM: --max-lora-rank \d+ /.test(adviceOnVllm(r)),
    spoil: ({ config }) => void (config.r = 513),
  },
  {
    what:
      "every tensor is called base_model.model.PATH.lora_A.weight or lora_B.weight, and every layer has both",
    source: "vllm/lora/utils.py, parse_fine_tuned_lora_name; lora/lora_model.py, from_lora_tensors",
    isMet: ({ tensors }) =>
      tensors.size > 0 && [...tensors.keys()].every((name) => {
        const [, path, factor] = pattern.exec(name) ?? [];
        const other = factor === "lora_A" ? "lora_B" : "lora_A";
        return path !== undefined && tensors.has(`base_model.model.${path}.${other}.weight`);
      }),
    spoil: ({ tensors }) => void tensors.delete([...tensors.keys()][0]),
  },
  {
    what: "layers are linear ones that vLLM's model has, by the last part of their paths",
    source: "vllm/lora/lora_model.py, check_unexpected_modules; models/llama.py, packed_modules_mapping",
    isMet: (folder) => pathsOf(folder).every((path) => modules.includes(path.split(".").at(-1)!)),
    spoil: ({ tensors }) => {
      for (const factor of ["lora_A", "lora_B"]) {
        tensors.set(`base_model.model.model.norm.${factor}.weight`, { shape: [1, 1], dtype: "F32" });
      }
    },
  },
  {
    what: "A is [rank, inputs] and B [outputs, rank], in a float type",
    source: "vllm/lora/layers/base_linear.py, set_lora; lora/lora_model.py, tensor.to(dtype)",
    isMet: (folder) =>
      pathsOf(folder).every((path) => {
        const [A, B] = ["A", "B"].map((factor) =>
          folder.tensors.get(`base_model.model.${path}.lora_${factor}.weight`)
        );
        return A?.shape.length === 2 && B?.shape.length === 2 && A.shape[0] === B.shape[1] &&
          [A, B].every(({ dtype }) => ["F32", "F16", "BF16"].includes(dtype));
      }),
    spoil: ({ tensors }) => {
      const name = [...tensors.keys()].find((name) => name.endsWith("lora_B.weight"))!;
      tensors.set(name, { ...tensors.get(name)!, shape: tensors.get(name)!.shape.toReversed() });
    },
  },
];

const folder = await Deno.makeTempDir();
const bases = await exportBases(folder);

/** Exports a case's adapter, and reads what vLLM reads: lora_model.py, from_local_checkpoint, takes safetensors first. */
async function exported(name: string, at: string): Promise<Folder> {
  const { adapter, weights } = trainedCase(name, bases);
  await saveAdapter(`${at}/adapter`, bases.get("decoder")!, adapter, weights);
  const { rank } = exportCases[name];
  const [model, out] = [`${folder}/decoder`, `${at}/export`];
  await exportAdapter({ gpu: await testGpu(), model, adapter: `${at}/adapter`, format: "peft", out, rank });
  const { tensors } = await readSafetensors(`${out}/adapter_model.safetensors`);
  return {
    config: JSON.parse(await Deno.readTextFile(`${out}/adapter_config.json`)),
    tensors: new Map(tensors),
  };
}

const names = Object.keys(exportCases).filter((name) => exportCases[name].base === "decoder");

for (const name of names) {
  Deno.test(`vLLM's requirements of a LoRA are met by an export: ${name}`, () =>
    withFolder(async (at) => {
      const own = await exported(name, at);
      const unmet = requirements.filter((requirement) => !requirement.isMet(own));
      assert.deepEqual(unmet.map(({ what, source }) => `${what} (${source})`), []);
    }));
}

Deno.test("each of vLLM's requirements can fail", () =>
  withFolder(async (at) => {
    const own = await exported("Decoder, BoRA b auto r 4", at);
    for (const requirement of requirements) {
      const spoilt: Folder = { config: structuredClone(own.config), tensors: new Map(own.tensors) };
      requirement.spoil(spoilt);
      assert.ok(!requirement.isMet(spoilt), requirement.what);
    }
  }));

Deno.test("the rank that vLLM is to be started with is the least it has, and beyond 512 there is none", () => {
  const ranks = [1, 2, 8, 33, 128, 257, 512].map((rank) => adviceOnVllm(rank).split(" ")[2]);
  assert.deepEqual(ranks, ["1", "8", "8", "64", "128", "320", "512"]);
  assert.equal(adviceOnVllm(513), "vLLM takes ranks up to 512: export with --rank, or merge");
});

Deno.test("an export with modules that are trained whole says that vLLM refuses it", () =>
  withFolder(async (at) => {
    const model = bases.get("decoder")!;
    const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["q_proj"], modulesToSave: ["norm"] });
    await saveAdapter(`${at}/adapter`, model, adapter, startingWeights(model, adapter, 0));
    const args = ["--model", `${folder}/decoder`, "--adapter", `${at}/adapter`, "--out", `${at}/out`];
    const { code, stdout, stderr } = await runTask("export", args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^vLLM refuses modules that are trained whole \(modules_to_save\): merge for it$/m);
  }));
