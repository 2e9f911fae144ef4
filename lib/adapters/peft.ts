/**
 * Saving and loading adapters in PEFT's folder layout: `adapter_config.json` and `adapter_model.safetensors`,
 * with PEFT's key names. Folders of LoRA, rsLoRA, DoRA, HiRA and GraLoRA are interchangeable with peft 0.21.0
 * in both directions (see `tests/fixtures/peft_reference.py` and `peft_encoders.py`). The other methods use
 * the same layout with a `peft_type` of their own.
 */

import * as v from "npm:valibot@1.5.0";
import type { Task } from "../data/task.ts";
import { adapterCard, type CardNotes } from "./card/adapter_card.ts";
import { cardFile, cardText, hasOwnCard } from "./card/card.ts";
import { isFile, readJson, writeTogether } from "../files.ts";
import { headPathsOf, type Model, type Weight } from "../models/model.ts";
import {
  encodeSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  toFloat32,
} from "../models/safetensors.ts";
import { recordOf } from "../record_schema.ts";
import { version } from "../version.ts";
import { type Adapter, attach, type AttachOptions } from "./attach.ts";
import { baseMetadata, checkBase, checkNotMerged } from "./base_weights.ts";
import { checkWeights, ownShapes } from "./check_weights.ts";
import { checkHead, headNames } from "./head_tensors.ts";
import { checkLabels, type Labels, labelsFile, labelsOf, labelsText, readLabels } from "./labels.ts";
import type { Method, PeftFormat } from "./method.ts";
import { moduleOf } from "./names.ts";
import { areOfBareTrunk, keyAt, keysByName, withoutTrunk } from "./peft_keys.ts";
import {
  differing,
  isSet,
  overlapping,
  ranksOf,
  savedModules,
  targetingOf,
  targetModules,
} from "./peft_targeting.ts";
import { methods } from "./registry.ts";
import { isSavedIn } from "./saved_before.ts";
import { isEndOfPath } from "./targeting.ts";
import { checkHeadCopy, headCopy, headModule, trainedAsHead } from "./tied_head.ts";
import { valuesForFiles, valuesOnModel } from "./trained_norms.ts";

/** In the `__metadata__` of `adapter_model.safetensors`: the version of this library that wrote it. */
const versionKey = "bora_webgpu_version";

/** The other fields of peft 0.21.0's LoraConfig, with their defaults. */
const loraConfigDefaults = {
  alora_invocation_tokens: null,
  alpha_pattern: {},
  arrow_config: null,
  bias: "none",
  corda_config: null,
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

/** The fields of `adapter_config.json` that any adapter of PEFT's or of this library may have beside its method's own. */
const commonFields = [
  ...Object.keys(loraConfigDefaults),
  "auto_mapping",
  "base_model_name_or_path",
  "ensure_weight_tying",
  "inference_mode",
  "init_weights",
  "layers_pattern",
  "layers_to_transform",
  "modules_to_save",
  "peft_type",
  "peft_version",
  "revision",
  "runtime_config",
  "target_modules",
  "task_type",
];

/** Settings of PEFT that change an adapted layer's forward pass in ways that no method here supports. */
const otherVariants = [
  "alora_invocation_tokens",
  "arrow_config",
  "fan_in_fan_out",
  "hybrid_r",
  "kasa_config",
  "layer_replication",
  "monteclora_config",
  "target_parameters",
  "trainable_token_indices",
  "use_bdlora",
  "use_qalora",
  "velora_config",
];

/** Values of `init_lora_weights` that do not change the base weights: the saved A and B are complete. */
const plainStarts = ["gaussian", "orthogonal", "eva", "mica"];

/**
 * Values that replace the base weight by W − s·B₀A₀ or a quantised W, which PEFT's folder does not contain.
 */
const baseChangingStarts = /^(pissa(_niter_\d+)?|olora|corda|loftq|lora_ga)$/;

const configSchema = v.looseObject({
  peft_type: v.string(),
  base_model_name_or_path: v.optional(v.nullable(v.string())),
  target_modules: v.optional(v.nullable(v.union([v.string(), v.array(v.string())]))),
  layers_to_transform: v.optional(v.nullable(v.union([v.number(), v.array(v.number())]))),
  rank_pattern: v.optional(v.nullable(recordOf(v.number()))),
  alpha_pattern: v.optional(v.nullable(recordOf(v.number()))),
  modules_to_save: v.optional(v.nullable(v.array(v.string()))),
  task_type: v.optional(v.nullable(v.string())),
  auto_mapping: v.optional(
    v.nullable(v.looseObject({ base_model_class: v.optional(v.nullable(v.string())) })),
  ),
  bias: v.optional(v.string()),
  lora_bias: v.optional(v.boolean()),
});

type PeftConfig = v.InferOutput<typeof configSchema>;

/** An adapter with its trained values, as `loadAdapter` reads it. */
export interface SavedAdapter {
  /** The method attached to its layers. */
  readonly adapter: Adapter;
  /** Every trained tensor by this library's full name (`layer.0.attention.query.A`), the head's included. */
  readonly weights: ReadonlyMap<string, Weight>;
  /** What the head's outputs mean, if the folder says so. */
  readonly labels?: Labels;
}

/**
 * The files of an adapter's folder in PEFT's layout, by name: for a browser, to offer them for download. See `saveAdapter`, which
 * writes them, and throws what this throws.
 */
export function adapterFiles(
  model: Model,
  adapter: Adapter,
  weights: ReadonlyMap<string, Weight>,
  task?: Pick<Task, "objective" | "labels"> | Labels,
  notes: CardNotes = {},
): Record<string, Uint8Array<ArrayBuffer> | string> {
  const format = formatOf(adapter.method);
  const hasHead = checkWeights(model, adapter, weights);
  const tensors = new Map<string, Weight>();
  for (const [name, weight] of weights) {
    tensors.set(keyOf(adapter, format, name), valuesForFiles(model, name, weight));
  }
  const table = trainedAsHead(model, adapter);
  if (table) tensors.set(keyAt(headCopy), weights.get(table)!);
  const config = configOf(model, adapter, format, hasHead);
  const labels = task && ("problem_type" in task ? task : labelsOf(task));
  if (labels && hasHead) {
    checkLabels(labels, weights.get(`${model.head.projection}.weight`)!.shape[0], "the labels");
  }
  return {
    "adapter_model.safetensors": encodeSafetensors(tensors, {
      ...baseMetadata(model),
      [versionKey]: version,
    }),
    "adapter_config.json": `${JSON.stringify(config, sortedKeys(config), 2)}\n`,
    ...labels ? { [labelsFile]: labelsText(labels) } : {},
    [cardFile]: cardText(adapterCard({ model, adapter, weights, labels }, notes)),
  };
}

/** Options of `saveAdapter`. */
export interface SaveOptions extends CardNotes {
  /** Receives a line when the folder has a README.md that somebody wrote or edited, which stays. */
  readonly report?: (line: string) => void;
}

/**
 * Saves `adapter` with its trained `weights` (from `Trainer.weights`, which includes the head's) in `folder`,
 * in PEFT's layout. Each file is written under a temporary name and then renamed, so a crash leaves no
 * partial file. The SHA-256 of each base weight is saved too, so that `loadAdapter` can recognise the base.
 * It is the digest of the values as they were first read; weights that have not been read yet are read now.
 * If `task` is given, the names of its classes are saved too, in `labels.json`; so are `SavedAdapter.labels` in its place.
 *
 * The folder's README.md is a model card of the Hugging Face hub's, which says what the adapter is and how it is loaded and, if
 * `options.training` says it, how it was trained and how good it is. One that somebody has written or edited stays as it is, and so
 * does that of the same adapter, saved there before, unless the options say more.
 * @throws Error, and writes nothing, when a tensor is missing, has the wrong shape, is not finite, or belongs neither to the
 * adapter nor to the head, when the method has no adapter to save, and when the labels do not name each of the head's outputs, by a
 * name of its own.
 *
 * @example
 * ```ts
 * import { attach, bora, loadUseLite, openGpu, saveAdapter, Trainer } from "@bora/webgpu";
 * import { objectives } from "@bora/webgpu/models";
 *
 * using gpu = await openGpu();
 * const model = await loadUseLite();
 * const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query"] });
 * const examples = ["bad", "good"].map((text, label) => ({ texts: [model.tokenizer.encode(text)], label }));
 * const objective = objectives.classification.of(model, { texts: 1, classes: 2 });
 * const options = { learningRate: 3e-3, epochs: 1, batchSize: 2, warmupRatio: 0, seed: 0 };
 * using trainer = new Trainer({ gpu, model, adapter, objective, examples, ...options });
 * await trainer.epoch();
 * await saveAdapter(`${await Deno.makeTempDir()}/adapter`, model, adapter, await trainer.weights());
 * ```
 */
export async function saveAdapter(
  folder: string,
  model: Model,
  adapter: Adapter,
  weights: ReadonlyMap<string, Weight>,
  task?: Pick<Task, "objective" | "labels"> | Labels,
  { report = console.warn, ...notes }: SaveOptions = {},
): Promise<void> {
  const { [cardFile]: card, ...files } = adapterFiles(model, adapter, weights, task, notes);
  await Deno.mkdir(folder, { recursive: true });
  const keepsCard = await hasOwnCard(folder);
  if (keepsCard) {
    report(`${folder}/${cardFile} was written or edited by somebody: it stays, and no new card is written`);
  }
  // Those of another adapter that was saved here before.
  const outdated = labelsFile in files ? [] : [labelsFile];
  const { training, origin } = notes;
  const isTold = training !== undefined || origin !== undefined;
  const isThere = !isTold && await isFile(`${folder}/${cardFile}`) &&
    await isSavedIn(folder, files, outdated);
  const written = keepsCard || isThere ? files : { ...files, [cardFile]: card };
  await writeTogether(
    Object.fromEntries(Object.entries(written).map(([name, content]) => [`${folder}/${name}`, content])),
    outdated.map((name) => `${folder}/${name}`),
  );
}

/**
 * Checks that `saveAdapter` will accept this adapter's method and options. Call it before a long training
 * run.
 * @throws Error as `saveAdapter` does.
 */
export function checkSavable(model: Model, adapter: Adapter): void {
  configOf(model, adapter, formatOf(adapter.method), true);
}

/**
 * Loads an adapter for `model` from a folder in PEFT's layout. `known` lists the methods to recognise: pass
 * `[...methods, mine]` if the adapter may be of your own method. A head in the folder is always read, even
 * when the configuration does not mention it. Adapters of a bare trunk (transformers' AutoModel) are loaded
 * onto the same layers of the model with a head.
 *
 * The base model is recognised by the values of its weights, not by its path. `report` receives a one-line
 * warning when the folder does not record the base (PEFT's folders do not), or when the model is stored in
 * another form (F16 instead of F32, or packed). If the model's weights have not been read yet, they are read
 * once for this check.
 *
 * @throws Error that names the file and the problem: different base values, a model that has the adapter merged in
 * already (which is known of what `saveMerged` and `saveMergedGguf` wrote), an unknown method or target, missing or
 * unexpected keys, wrong shapes (including the head's) or element types, values that are not finite, or an
 * `init_lora_weights` that changed the base. In that case nothing is attached.
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
  model: Model,
  known: readonly Method[] = methods,
  report: (line: string) => void = console.warn,
): Promise<SavedAdapter> {
  const configPath = `${folder}/adapter_config.json`;
  const written = await readJson(configPath, configSchema);
  const method = methodOf(configPath, written, known);
  const path = await weightsOf(folder);
  const { metadata, places } = readSafetensorsHeader(path);
  const keys = keysByName(places.keys());
  const bare = areOfBareTrunk(model, [...keys.keys()]);
  const { ranksOfTensors, keys: suffixes } = formatOf(method);
  const config = ranksOfTensors ? { ...written, rank_pattern: ranksOf(suffixes.A, places) } : written;
  const own = optionsOf(configPath, method, config);
  const adapter = namingFile(configPath, () => {
    const targeting = targetingOf(configPath, model, config, method, own, bare);
    return attach(model, method, { ...own, ...targeting } as AttachOptions);
  });
  const table = bare ? undefined : trainedAsHead(model, adapter);
  const copy = table && keys.get(keyAt(headCopy));
  if (copy) keys.delete(keyAt(headCopy));
  const names = namesByKey(model, adapter, bare);
  checkKeys(path, model, adapter, names, !bare && headIsSaved(model, config), keys);
  const head = checkShapes(path, names, keys, places);
  if (head.size > 0) {
    refuseOtherHeads(configPath, config);
    refuseNestedHead(configPath, model, config, [...keys.values()]);
    checkHead(model, head, path);
  }
  const outputs = head.get(`${model.head.projection}.weight`)?.[0];
  const labels = outputs === undefined ? undefined : await readLabels(folder, outputs);
  const { tensors } = await readSafetensors(path);
  const weights = new Map<string, Weight>();
  for (const [key, spelling] of keys) {
    const tensor = tensors.get(spelling)!;
    const data = toFloat32(tensor);
    if (!data.every(Number.isFinite)) {
      throw new Error(`${path}: "${spelling}" holds values that are not finite`);
    }
    const { name } = names.get(key)!;
    weights.set(name, valuesOnModel(model, name, { shape: tensor.shape, data }));
  }
  if (table) {
    const found = copy === undefined ? undefined : tensors.get(copy)!;
    const head = found && { shape: found.shape, data: toFloat32(found) };
    checkHeadCopy(path, weights.get(table)!, head, versionKey in metadata);
  }
  reportUnknown(configPath, config, method, report);
  const paths = adapter.modules.map(({ module }) =>
    bare ? withoutTrunk(model.trunk!, module.path) : module.path
  );
  reportOverlap(configPath, paths, config, report);
  const file = { path, metadata, baseName: config.base_model_name_or_path, weights };
  checkNotMerged(file, model);
  checkBase(file, model, report);
  return { adapter, weights, ...labels ? { labels } : {} };
}

/**
 * Advice for keys that are missing because neither the base nor the adapter holds that layer; otherwise
 * empty.
 */
function adviceOnFresh({ fresh = [] }: Model, missing: readonly string[]): string {
  const lost = fresh.find((path) => missing.some((key) => isEndOfPath(moduleOf(key), path)));
  if (!lost) return "";
  return `: the base was saved without ${lost}, and the adapter without the one that it was trained on: use the base that has it, ` +
    `or train anew with "${lost.slice(lost.indexOf(".") + 1)}" in modules_to_save`;
}

/** The list of keys for JSON.stringify: sorted as PEFT sorts them, including those of nested objects. */
function sortedKeys(config: Readonly<Record<string, unknown>>): string[] {
  const nested = Object.values(config).filter((value) => value !== null && typeof value === "object");
  return [...new Set([...Object.keys(config), ...nested.flatMap((value) => Object.keys(value as object))])]
    .toSorted();
}

function formatOf({ name, peft }: Method): PeftFormat {
  if (!peft) throw new Error(`${name} has no adapter to save: save the model's weights`);
  return peft;
}

/** The path of the file with the folder's tensors. */
async function weightsOf(folder: string): Promise<string> {
  const [path, pickle] = [`${folder}/adapter_model.safetensors`, `${folder}/adapter_model.bin`];
  if (!await isFile(path) && await isFile(pickle)) {
    throw new Error(
      `${pickle} is a pickle, which is not read here: load the adapter in PEFT, and save it with save_pretrained(…, ` +
        `safe_serialization=True)`,
    );
  }
  return path;
}

/**
 * The key in PEFT's file for a tensor of this library. `rename` maps the tensor's path to its path in another
 * form of the model (the bare trunk).
 */
function keyOf(
  { parameters }: Adapter,
  { keys }: PeftFormat,
  name: string,
  rename = (path: string) => path,
): string {
  if (!parameters.has(name)) return keyAt(rename(name));
  const path = moduleOf(name);
  return `${keyAt(rename(path))}.${keys[name.slice(path.length + 1)]}`;
}

/**
 * What a key in the file stands for: the tensor's name here, and its shape unless it is one of the head's.
 */
interface Named {
  readonly name: string;
  readonly shape?: readonly number[];
}

/** Every key that the file may contain. */
function namesByKey(model: Model, adapter: Adapter, bare: boolean): Map<string, Named> {
  const format = formatOf(adapter.method);
  const rename = (path: string) => bare ? withoutTrunk(model.trunk!, path) : path;
  const own = [...ownShapes(model, adapter)].map(([name, shape]) =>
    [keyOf(adapter, format, name, rename), { name, shape }] as const
  );
  return new Map<string, Named>([
    ...headNames(model).map((name) => [keyAt(name), { name }] as const),
    ...own,
  ]);
}

/** Throws an Error that lists missing and unexpected keys. */
function checkKeys(
  path: string,
  model: Model,
  { method }: Adapter,
  names: ReadonlyMap<string, Named>,
  wantsHead: boolean,
  keys: ReadonlyMap<string, string>,
): void {
  const missing = [...names].filter(([key, { shape }]) => (shape || wantsHead) && !keys.has(key)).map((
    [key],
  ) => key);
  const extra = [...keys.keys()].filter((key) => !names.has(key));
  if (missing.length + extra.length === 0) return;
  const list = (keys: string[]) =>
    keys.slice(0, 5).join(", ") + (keys.length > 5 ? `, … (${keys.length})` : "");
  throw new Error(
    `${path} does not fit ${method.name} on ${model.name}: missing [${list(missing)}], not expected [${
      list(extra)
    }]${reasonFor(model, extra)}${adviceOnFresh(model, missing)}`,
  );
}

/**
 * The shapes of the head's tensors in the file. Throws an Error where another tensor's shape is not the
 * adapter's.
 */
function checkShapes(
  path: string,
  names: ReadonlyMap<string, Named>,
  keys: ReadonlyMap<string, string>,
  places: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Map<string, readonly number[]> {
  const ofHead = new Map<string, readonly number[]>();
  for (const [key, spelling] of keys) {
    const { shape } = places.get(spelling)!;
    const { name, shape: wanted } = names.get(key)!;
    if (!wanted) ofHead.set(name, shape);
    else if (shape.join() !== wanted.join()) {
      throw new Error(`${path}: "${spelling}" is [${shape}], not [${wanted}]: r, blocks or the base differ`);
    }
  }
  return ofHead;
}

/**
 * True when the folder must contain a head: `modules_to_save` names it, or `task_type` is SEQ_CLS, for which
 * PEFT before 0.11 saves the head without listing it.
 */
function headIsSaved(model: Model, { task_type: task, modules_to_save: saved }: PeftConfig): boolean {
  return task === "SEQ_CLS" || (saved ?? []).includes(model.head.module);
}

/**
 * Throws an Error for a head that classifies tokens or spans, even where its shape would fit a head for whole
 * texts.
 */
function refuseOtherHeads(path: string, { task_type: task, auto_mapping: mapping }: PeftConfig): void {
  const made = mapping?.base_model_class;
  const ofTexts = task
    ? ["SEQ_CLS", "FEATURE_EXTRACTION"].includes(task)
    : !made || /(SequenceClassification|MultipleChoice)$/.test(made);
  if (ofTexts) return;
  throw new Error(
    `${path}: ${
      task ? `task_type is "${task}"` : `the adapter is of a ${made}`
    }, and heads here are those of whole texts ` +
      `(SEQ_CLS): it cannot be used here`,
  );
}

/**
 * Throws an Error where `modules_to_save` names the head and each layer in it: PEFT then trains and computes with a copy that is
 * not in the file, which has the layers' own copies alone, and cannot load the folder itself.
 */
function refuseNestedHead(
  path: string,
  model: Model,
  { modules_to_save: saved }: PeftConfig,
  keys: readonly string[],
): void {
  const { module } = model.head;
  const layers = headPathsOf(model.head).filter((own) => own !== module);
  const isNamed = (own: string) => (saved ?? []).some((name) => isEndOfPath(own, name));
  if (layers.length === 0 || !isNamed(module) || !layers.every(isNamed)) return;
  if (keys.some((key) => key.includes(`.${module}.modules_to_save.`))) return;
  throw new Error(
    `${path}: modules_to_save names "${module}" and ${
      layers.join(", ")
    } in it, and PEFT does not save the copy that it trained ` +
      `then: train again with modules_to_save=["${module}"]`,
  );
}

/** `body`'s result. An error that does not say so yet is told with the file that it comes from. */
function namingFile<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    const { message } = error as Error;
    if (message.startsWith(path)) throw error;
    throw new Error(`${path}: ${message}`, { cause: error });
  }
}

/** An explanation of unexpected keys, where there is one. */
function reasonFor(model: Model, extra: readonly string[]): string {
  const lies = (module: string) => extra.some((key) => key.startsWith(`${keyAt(module)}.`));
  if (headPathsOf(model.head).some(lies)) {
    return `: it has an adapter on the head, which is trained and saved whole here, as by PEFT 0.21 with task_type="SEQ_CLS"`;
  }
  const hasPooler = model.linears.some(({ path }) => path.split(".").includes("pooler"));
  return !hasPooler && (lies("pooler") || lies(`${model.trunk}.pooler`))
    ? `: ${model.name} has no pooler here, ${
      model.pooledByFolder
        ? "where its folder pools tokens otherwise"
        : "as in its model with a head for sequences"
    }`
    : "";
}

function configOf(
  model: Model,
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
  const isTied = trainedAsHead(model, adapter) !== undefined;
  const saved = [
    ...savedModules(model, targeting),
    ...(isTied ? [headModule] : []),
    ...(hasHead ? [model.head.module] : []),
  ];
  return {
    auto_mapping: null,
    base_model_name_or_path: model.hubId ?? model.name,
    inference_mode: true,
    peft_type: format.type,
    peft_version: "0.21.0",
    revision: null,
    // A decoder with a head for whole texts writes none.
    task_type: model.language && !hasHead ? "CAUSAL_LM" : null,
    layers_pattern: null,
    layers_to_transform: null,
    modules_to_save: saved.length > 0 ? saved : null,
    target_modules: targetModules(model, adapter, hasHead),
    ...(format.type === "LORA" ? { ...loraConfigDefaults, ensure_weight_tying: isTied } : {}),
    ...patternsOf(adapter),
    ...format.marks,
    ...Object.fromEntries(own),
  };
}

/** PEFT's `rank_pattern` and `alpha_pattern`, unless empty. */
function patternsOf({ method, options, modules }: Adapter): Record<string, unknown> {
  const { type, patterns: known = ["r", "alpha"] } = formatOf(method);
  const patterns = ([["rank_pattern", "r"], ["alpha_pattern", "alpha"]] as const).map(([name, option]) => {
    const pattern = differing(modules, options, option);
    if (Object.keys(pattern).length > 0 && !known.includes(option)) {
      throw new Error(`PEFT's ${type} has no ${name}: attach an adapter of its own to each of these layers`);
    }
    return [name, pattern] as const;
  });
  return Object.fromEntries(patterns.filter(([, pattern]) => Object.keys(pattern).length > 0));
}

/** The method whose `peft_type` and marks match the configuration. */
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
  checkStart(path, config.init_lora_weights ?? true);
  const variant = otherVariants.find((name) => isSet(config[name]));
  if (variant) {
    throw new Error(`${path}: ${variant} changes what the adapter computes and is not supported here`);
  }
  return found;
}

/** Reports the settings that neither this library nor PEFT's configurations up to 0.21 know: nothing says what they change. */
function reportUnknown(
  path: string,
  config: PeftConfig,
  { peft }: Method,
  report: (line: string) => void,
): void {
  const { fields, marks = {} } = peft!;
  const known = new Set([...commonFields, ...Object.values(fields), ...Object.keys(marks)]);
  const unknown = Object.keys(config).filter((name) => !known.has(name) && isSet(config[name]));
  if (unknown.length === 0) return;
  report(
    `${path}: has settings that are not known here and are ignored, as of a newer PEFT (${
      unknown.join(", ")
    }): ` +
      `make sure that they do not change what the adapter computes`,
  );
}

/** Reports patterns for α of which the file does not say which one was used in training. */
function reportOverlap(
  path: string,
  layers: readonly string[],
  { alpha_pattern: patterns }: PeftConfig,
  report: (line: string) => void,
): void {
  const found = overlapping(layers, patterns ?? {});
  if (!found) return;
  report(
    `${path}: alpha_pattern gives "${found.path}" several values (${
      found.patterns.join(", ")
    }): the first is taken, as in PEFT, which ` +
      `sorts them when it saves: make sure that it was the first in training`,
  );
}

/** Throws an Error unless the adapter was trained on the base weights as they are in the base's own files. */
function checkStart(path: string, init: unknown): void {
  const name = String(init).toLowerCase();
  if (typeof init === "boolean" || plainStarts.includes(name)) return;
  if (!baseChangingStarts.test(name)) {
    throw new Error(
      `${path}: init_lora_weights is ${
        JSON.stringify(init)
      }, and whether that changes the base's weights is not known here; ` +
        `known are true, false, ${plainStarts.join(", ")}`,
    );
  }
  throw new Error(
    `${path}: init_lora_weights "${init}" changes the base's weights, and the folder does not hold the changed ones: ` +
      (name === "loftq"
        ? "merge the adapter in PEFT, and use the merged model"
        : "save it in PEFT with path_initial_model_for_weight_conversion, which makes it an adapter of the base as it was"),
  );
}

function optionsOf(path: string, { defaults, peft }: Method, config: PeftConfig): Record<string, unknown> {
  // No defaults for these: defaults differ between libraries, r and α determine the update's scale, and the tensors of MELoRA have the
  // same shapes for any number of blocks.
  const missing = ["r", "alpha", "blocks"].find((name) =>
    name in defaults && config[peft!.fields[name]] === undefined
  );
  if (missing) {
    throw new Error(`${path}: "${peft!.fields[missing]}" is missing: write the value it was trained with`);
  }
  const known = Object.keys(defaults).filter((name) => config[peft!.fields[name]] !== undefined);
  return Object.fromEntries(known.map((name) => [name, config[peft!.fields[name]]]));
}
