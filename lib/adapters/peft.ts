/**
 * Adapters as folders in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`, with PEFT's key names. LoRA,
 * rsLoRA, DoRA, HiRA and GraLoRA folders are PEFT's own (peft 0.21.0 reads them, and they read peft's: see
 * `tests/fixtures/peft_reference.py`); the other methods use the same layout under a `peft_type` of their own.
 */

import * as v from "npm:valibot@1.5.0";
import { readJson, writeTogether } from "../files.ts";
import { type Encoder, headLayoutOf, type Weight } from "../models/model.ts";
import {
  encodeSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  toFloat32,
} from "../models/safetensors.ts";
import { type Adapter, attach, type AttachOptions } from "./attach.ts";
import type { Method, PeftFormat } from "./method.ts";
import { moduleOf } from "./names.ts";
import { methods } from "./registry.ts";
import { type AdaptedModule, isEndOfPath, regularExpression, type Targeting } from "./targeting.ts";

const prefix = "base_model.model.";

/** The rest of peft 0.21.0's LoraConfig, at its defaults. */
const loraConfigDefaults = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  bias: "none",
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  init_lora_weights: true,
  kasa_config: null,
  layer_replication: null,
  loftq_config: {},
  lora_bias: false,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: "megatron.core",
  monteclora_config: null,
  qalora_group_size: 16,
  rank_pattern: {},
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_qalora: false,
  velora_config: null,
};

/** PEFT's settings that change a LoRA layer's forward pass in ways that no method here does. */
const otherVariants = [
  "alora_invocation_tokens",
  "arrow_config",
  "fan_in_fan_out",
  "kasa_config",
  "layer_replication",
  "monteclora_config",
  "target_parameters",
  "trainable_token_indices",
  "use_bdlora",
  "use_qalora",
  "velora_config",
];

const configSchema = v.looseObject({
  peft_type: v.string(),
  base_model_name_or_path: v.optional(v.nullable(v.string())),
  target_modules: v.optional(v.nullable(v.union([v.string(), v.array(v.string())]))),
  layers_to_transform: v.optional(v.nullable(v.union([v.number(), v.array(v.number())]))),
  rank_pattern: v.optional(v.nullable(v.record(v.string(), v.number()))),
  alpha_pattern: v.optional(v.nullable(v.record(v.string(), v.number()))),
  modules_to_save: v.optional(v.nullable(v.array(v.string()))),
  bias: v.optional(v.string()),
  lora_bias: v.optional(v.boolean()),
});

type PeftConfig = v.InferOutput<typeof configSchema>;

/** An adapter read from a folder: the plan, and every trained tensor by this library's names. */
export interface SavedAdapter {
  /** The method on its layers. */
  readonly adapter: Adapter;
  /** Every trained tensor, by name. */
  readonly weights: ReadonlyMap<string, Weight>;
}

/**
 * Writes `adapter` with its trained `weights` (those of `Trainer.weights`, the head's among them) into `folder`, each file
 * beside and renamed.
 * @throws Error when a tensor of the adapter is missing, or the method has no adapter to save.
 *
 * @example
 * ```ts
 * import { attach, bora, loadUseLite, openGpu, saveAdapter, Trainer } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * const model = await loadUseLite();
 * const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query"] });
 * const examples = [{ texts: [model.tokenize("good")], label: 1 }, { texts: [model.tokenize("bad")], label: 0 }];
 * const head = { shape: "single", objective: "classification", texts: 1, outputs: 2 } as const;
 * const options = { learningRate: 3e-3, epochs: 1, batchSize: 2, warmupRatio: 0, seed: 0 };
 * using trainer = new Trainer(gpu, model, adapter, head, examples, options);
 * await trainer.epoch();
 * await saveAdapter(`${await Deno.makeTempDir()}/adapter`, model, adapter, await trainer.weights());
 * ```
 */
export async function saveAdapter(
  folder: string,
  model: Encoder,
  adapter: Adapter,
  weights: ReadonlyMap<string, Weight>,
): Promise<void> {
  const format = formatOf(adapter.method);
  const missing = [...adapter.parameters.keys()].filter((name) => !weights.has(name));
  if (missing.length > 0) throw new Error(`no values for ${missing.join(", ")}: pass every trained tensor`);
  const tensors = new Map<string, Weight>();
  for (const [name, weight] of weights) tensors.set(keyOf(adapter, format, name), weight);
  const config = configOf(
    model,
    adapter,
    format,
    [...weights.keys()].some((name) => name.startsWith(`${headLayoutOf(model).module}.`)),
  );
  await Deno.mkdir(folder, { recursive: true });
  await writeTogether({
    [`${folder}/adapter_model.safetensors`]: encodeSafetensors(tensors),
    [`${folder}/adapter_config.json`]: `${JSON.stringify(config, sortedKeys(config), 2)}\n`,
  });
}

/** Throws the Error that `saveAdapter` would throw for this method or its options: to be asked before hours of training. */
export function checkSavable(model: Encoder, adapter: Adapter): void {
  configOf(model, adapter, formatOf(adapter.method), true);
}

/**
 * Reads an adapter for `model`, of one of `known` methods: pass `[...methods, mine]` where it may be of your own.
 * @throws Error naming the file and what is wrong: another base, an unknown method or target, missing or extra keys, wrong
 * shapes or element types, values that are not finite. Nothing is attached then.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { attach, loadAdapter, loadUseLite, lora, saveAdapter } from "@bora/webgpu";
 *
 * const model = await loadUseLite();
 * const adapter = attach(model, lora, { r: 2, target: ["query"] });
 * const trained = new Map(
 *   [...adapter.parameters].map(([name, { shape }]) => [
 *     name,
 *     { shape, data: new Float32Array(shape[0] * shape[1]).fill(0.5) },
 *   ]),
 * );
 * const folder = `${await Deno.makeTempDir()}/adapter`;
 * await saveAdapter(folder, model, adapter, trained);
 * const { weights } = await loadAdapter(folder, model);
 * assert.deepEqual(weights, trained);
 * ```
 */
export async function loadAdapter(
  folder: string,
  model: Encoder,
  known: readonly Method[] = methods,
): Promise<SavedAdapter> {
  const configPath = `${folder}/adapter_config.json`;
  const config = await readJson(configPath, configSchema);
  const base = config.base_model_name_or_path;
  if (base && lastPart(base) !== lastPart(model.name)) {
    throw new Error(`${configPath}: the adapter was made for "${base}", this model is "${model.name}"`);
  }
  const method = methodOf(configPath, config, known);
  const adapter = attach(
    model,
    method,
    { ...optionsOf(configPath, method, config), ...targetingOf(configPath, model, config) } as AttachOptions,
  );
  const path = `${folder}/adapter_model.safetensors`;
  const { places } = await readSafetensorsHeader(path);
  const names = namesByKey(model, adapter, config);
  const missing = [...names].filter(([key, { required }]) => required && !places.has(key)).map(([key]) =>
    key
  );
  const extra = [...places.keys()].filter((key) => !names.has(key));
  if (missing.length + extra.length > 0) {
    const list = (keys: string[]) =>
      keys.slice(0, 5).join(", ") + (keys.length > 5 ? `, … (${keys.length})` : "");
    throw new Error(
      `${path} does not fit ${method.name} on ${model.name}: missing [${list(missing)}], not expected [${
        list(extra)
      }]`,
    );
  }
  for (const [key, place] of places) {
    const { shape } = names.get(key)!;
    if (shape && place.shape.join() !== shape.join()) {
      throw new Error(`${path}: "${key}" is [${place.shape}], not [${shape}]: r, blocks or the base differ`);
    }
  }
  const weights = new Map<string, Weight>();
  for (const [key, tensor] of (await readSafetensors(path)).tensors) {
    const { name } = names.get(key)!;
    const data = toFloat32(tensor);
    if (!data.every(Number.isFinite)) throw new Error(`${path}: "${key}" holds values that are not finite`);
    weights.set(name, { shape: tensor.shape, data });
  }
  return { adapter, weights };
}

/** `roberta-base` of a hub's id and of the folder that a copy lies in: an adapter's base may have been loaded from either. */
function lastPart(name: string): string | undefined {
  return name.split(/[/\\]/).findLast((part) => part !== "");
}

/** JSON.stringify's list of keys: sorted, as PEFT writes them, those of nested objects included. */
function sortedKeys(config: Readonly<Record<string, unknown>>): string[] {
  const nested = Object.values(config).filter((value) => value !== null && typeof value === "object");
  return [...new Set([...Object.keys(config), ...nested.flatMap((value) => Object.keys(value as object))])]
    .toSorted();
}

function formatOf({ name, peft }: Method): PeftFormat {
  if (!peft) throw new Error(`${name} has no adapter to save: save the model's weights`);
  return peft;
}

/** The key of one of this library's tensors. */
function keyOf({ parameters }: Adapter, { keys }: PeftFormat, name: string): string {
  if (!parameters.has(name)) return prefix + name;
  const path = moduleOf(name);
  return `${prefix}${path}.${keys[name.slice(path.length + 1)]}`;
}

/** Every key a file may hold, with this library's name, the shape it must have, and whether it must be there. */
function namesByKey(model: Encoder, adapter: Adapter, config: PeftConfig) {
  const format = formatOf(adapter.method);
  const required = [...adapter.parameters].map(([name, { shape }]) => ({ name, shape, required: true }));
  const saved = [...adapter.trainedBase].map((name) => ({
    name,
    shape: model.weights.get(name)!.shape,
    required: true,
  }));
  // Of a method that merges as it goes, the base it has arrived at.
  const grown = adapter.method.restarts
    ? adapter.modules.map(({ module: { path, m, n } }) => ({
      name: `${path}.weight`,
      shape: [m, n],
      required: true,
    }))
    : [];
  const { module, dense, projection } = headLayoutOf(model);
  const head = config.modules_to_save?.includes(module)
    ? [...dense ? [dense] : [], projection].flatMap((path) =>
      ["weight", "bias"].map((part) => ({ name: `${path}.${part}`, shape: undefined, required: true }))
    )
    : [];
  return new Map(
    [...required, ...saved, ...grown, ...head].map((entry) => [keyOf(adapter, format, entry.name), entry]),
  );
}

function configOf(
  model: Encoder,
  adapter: Adapter,
  format: PeftFormat,
  hasHead: boolean,
): Record<string, unknown> {
  const { options, targeting } = adapter;
  const own = Object.entries(options).map(([name, value]) => [format.fields[name], value]);
  const automatic = format.patterns && own.find(([, value]) => value === "auto");
  if (automatic) {
    throw new Error(`PEFT's ${format.type} wants a number for ${automatic[0]}, not "auto": attach with one`);
  }
  const saved = [...(targeting.modulesToSave ?? []), ...(hasHead ? [headLayoutOf(model).module] : [])];
  return {
    auto_mapping: null,
    base_model_name_or_path: model.name,
    inference_mode: true,
    peft_type: format.type,
    peft_version: "0.21.0",
    revision: null,
    task_type: null,
    layers_pattern: null,
    layers_to_transform: null,
    modules_to_save: saved.length > 0 ? saved : null,
    target_modules: targetModules(adapter),
    ...(format.type === "LORA" ? loraConfigDefaults : {}),
    ...patternsOf(adapter),
    ...format.marks,
    ...Object.fromEntries(own),
  };
}

/**
 * PEFT's `target_modules`: names that are ends of paths as they are; whole paths where a regular expression, layer numbers
 * or this library's own names chose the layers, so that PEFT and `loadAdapter` choose the same ones.
 */
function targetModules({ targeting: { target, layers }, modules }: Adapter): string[] {
  const paths = modules.map(({ module }) => module.path);
  const areEnds = Array.isArray(target) && !layers &&
    paths.every((path) => target.some((name) => isEndOfPath(path, name)));
  return [...new Set(areEnds ? target : paths)].toSorted();
}

/** PEFT's `rank_pattern` and `alpha_pattern`, where not empty: a key that fits one layer only for each that differs. */
function patternsOf({ method, options, modules }: Adapter): Record<string, unknown> {
  const value = (of: object, option: string) => (of as Readonly<Record<string, unknown>>)[option];
  // Not RegExp.escape: it would write a path's first letter as a number, which nobody could read.
  const key = ({ module: { path } }: AdaptedModule) => `^${path.replaceAll(/\W/g, "\\$&")}`;
  const { type, patterns: known = ["r", "alpha"] } = formatOf(method);
  const patterns = ([["rank_pattern", "r"], ["alpha_pattern", "alpha"]] as const).map(([name, option]) => {
    const differing = modules.filter((adapted) => value(adapted.options, option) !== value(options, option));
    if (differing.length > 0 && !known.includes(option)) {
      throw new Error(`PEFT's ${type} has no ${name}: attach an adapter of its own to each of these layers`);
    }
    return [
      name,
      Object.fromEntries(differing.map((adapted) => [key(adapted), value(adapted.options, option)])),
    ];
  });
  return Object.fromEntries(patterns.filter(([, pattern]) => Object.keys(pattern).length > 0));
}

function unlessEmpty(pattern: Readonly<Record<string, number>> | null | undefined) {
  return pattern && Object.keys(pattern).length > 0 ? pattern : undefined;
}

/** PEFT's reading of a string: all linear layers, or a regular expression for the whole path. */
function targetOf(path: string, target: string): RegExp | "all-linear" {
  return target.toLowerCase() === "all-linear"
    ? "all-linear"
    : regularExpression(`^(?:${target})$`, `${path}: target_modules`);
}

/** The method whose `peft_type` and marks the configuration bears. */
function methodOf(path: string, config: PeftConfig, known: readonly Method[]): Method {
  const bears = ({ type, marks = {} }: PeftFormat) =>
    type === config.peft_type &&
    Object.entries(marks).every(([name, value]) => (config[name] ?? false) === value);
  const found = known.find(({ peft }) => peft && bears(peft));
  if (!found) {
    const types = [...new Set(known.flatMap(({ peft }) => peft?.type ?? []))].join(", ");
    throw new Error(
      `${path}: no method for peft_type "${config.peft_type}" with these settings; have ${types}`,
    );
  }
  if ((config.bias ?? "none") !== "none" || config.lora_bias) {
    throw new Error(
      `${path}: adapters with biases are not supported; train with bias="none" and lora_bias=False`,
    );
  }
  const init = config.init_lora_weights ?? true;
  if (typeof init !== "boolean" && init !== "gaussian" && init !== "orthogonal") {
    throw new Error(
      `${path}: init_lora_weights "${init}" changes the base's weights and is not supported here`,
    );
  }
  const variant = otherVariants.find((name) => config[name]);
  if (variant) {
    throw new Error(`${path}: ${variant} changes what the adapter computes and is not supported here`);
  }
  return found;
}

function optionsOf(path: string, { defaults, peft }: Method, config: PeftConfig): Record<string, unknown> {
  // Defaults differ between libraries, and the update's size hangs on these two.
  const missing = ["r", "alpha"].find((name) => name in defaults && config[peft!.fields[name]] === undefined);
  if (missing) {
    throw new Error(`${path}: "${peft!.fields[missing]}" is missing: write the value it was trained with`);
  }
  const known = Object.keys(defaults).filter((name) => config[peft!.fields[name]] !== undefined);
  return Object.fromEntries(known.map((name) => [name, config[peft!.fields[name]]]));
}

function targetingOf(path: string, model: Encoder, config: PeftConfig): Targeting {
  const { target_modules: target, layers_to_transform: layers } = config;
  const unsupported = ["exclude_modules", "layers_pattern"].find((name) => config[name]);
  if (unsupported) {
    throw new Error(`${path}: ${unsupported} is not supported: name the layers themselves in target_modules`);
  }
  if (!target) {
    throw new Error(`${path}: target_modules is missing: name the layers, such as ["query", "value"]`);
  }
  // PEFT lists both names that heads of sequence classifiers go by, whichever the model has.
  const heads = [
    headLayoutOf(model).module,
    ...config.task_type === "SEQ_CLS" ? ["classifier", "score"] : [],
  ];
  const saved = config.modules_to_save?.filter((name) => !heads.includes(name)) ?? [];
  return {
    target: typeof target === "string" ? targetOf(path, target) : target,
    layers: typeof layers === "number" ? [layers] : layers?.length ? layers : undefined,
    rankPattern: unlessEmpty(config.rank_pattern),
    alphaPattern: unlessEmpty(config.alpha_pattern),
    modulesToSave: saved.length > 0 ? saved : undefined,
  };
}
