/**
 * Selecting the layers that a method is attached to, by name, regular expression or layer number, with
 * options that can differ from layer to layer.
 */

import { headPathsOf, type LinearModule, type Model } from "../models/model.ts";
import { isTablePart } from "../models/stored_weight.ts";
import { show } from "../show.ts";
import type { AdapterOptions, Method } from "./method.ts";
import { moduleOf } from "./names.ts";
import { resolveOptions } from "./options.ts";

/** Selects the layers that a method is attached to. The options are PEFT's, in camel case. */
export interface Targeting {
  /**
   * Target modules: names such as `["query", "value"]` or ends of paths (`["attention.query"]`), a regular
   * expression that is searched for in the path, or `"all-linear"`.
   */
  readonly target: readonly string[] | RegExp | "all-linear";
  /** Numbers of the transformer layers to adapt, from 0 (PEFT's `layers_to_transform`); default: all. */
  readonly layers?: readonly number[];
  /**
   * Ranks of individual layers, by a regular expression that must match the end of the path, such as
   * `{ "layer.0.attention.query": 4 }`. The first match counts.
   */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** α of individual layers, in the same way. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /**
   * Modules of the base that are fully trained and saved with the adapter, by the end of their path:
   * `["pooler"]`. This includes everything inside them; no adapter is placed there. The head's names
   * (`"classifier"`, `"score"`, `"classifier.out_proj"`) are accepted, as in PEFT, but have no effect: the
   * head is always trained and saved.
   */
  readonly modulesToSave?: readonly string[];
}

/** The parts of a model that targeting needs. */
export type Targeted = Pick<Model, "name" | "linears" | "head">;

/** One adapted layer with its options. */
export interface AdaptedModule {
  /** The adapted layer. */
  readonly module: LinearModule;
  /** The method's options for this layer, with `rankPattern` and `alphaPattern` applied. */
  readonly options: AdapterOptions;
}

/**
 * The selected layers, each with its options: values from patterns replace the common r and α.
 * @throws Error when a target, layer or pattern matches nothing, or when a pattern's value does not fit the
 * method.
 */
export function adaptedModules(
  model: Targeted,
  method: Method,
  options: AdapterOptions,
  targeting: Targeting,
): AdaptedModule[] {
  const modules = selectModules(model, targeting);
  const changes = [
    ["r", patternsOf("r", targeting.rankPattern, modules)],
    ["alpha", patternsOf("alpha", targeting.alphaPattern, modules)],
  ] as const;
  return modules.map((module) => {
    const own = changes.flatMap(([name, patterns]) => {
      const match = patterns.find(({ matches }) => matches(module.path));
      return match ? [[name, match.value]] : [];
    });
    return {
      module,
      options: own.length > 0 ? resolveOptions(method, { ...options, ...Object.fromEntries(own) }) : options,
    };
  });
}

interface Pattern {
  readonly value: number;
  matches(path: string): boolean;
}

/**
 * PEFT's rule for keys of `rank_pattern`: the key is a regular expression that must match the end of the
 * path.
 */
export function patternMatcher(option: string, pattern: string): (path: string) => boolean {
  const end = regularExpression(`^(?:.*\\.)?(?:${pattern})$`, `the pattern "${pattern}" for ${option}`);
  return (path) => end.test(path);
}

function patternsOf(
  option: string,
  patterns: Readonly<Record<string, number>> | undefined,
  modules: readonly LinearModule[],
): Pattern[] {
  return Object.entries(patterns ?? {}).map(([pattern, value]) => {
    const matches = patternMatcher(option, pattern);
    if (!modules.some(({ path }) => matches(path))) {
      throw new Error(`the pattern "${pattern}" for ${option} matches none of the adapted layers`);
    }
    return { value, matches };
  });
}

/** Compiles a regular expression. Throws an Error that names `what` when it is invalid. */
export function regularExpression(source: string, what: string): RegExp {
  // JavaScript reads these as literal characters, or ends the class at its first bracket. Other syntax that only Python has is an
  // error there.
  const [, pythons] = source.match(/(?<!\\)(?:\\\\)*(\\[AZz]|\{,\d*\}|(?<!\[)\[\^?\])/) ?? [];
  if (pythons) {
    throw new Error(
      `${what} has ${pythons}, which only Python's regular expressions know: write ^, $, {0,…} or [\\]…] in its place`,
    );
  }
  try {
    return new RegExp(source);
  } catch (error) {
    throw new Error(`${what} is not a regular expression: ${(error as Error).message}`, { cause: error });
  }
}

/** The names of the model's target modules, for error messages. */
function targetNames({ linears }: Targeted): string {
  return [...new Set(linears.map(({ target }) => target))].join(", ");
}

/** True when `name` is the module's target name or an end of its path. */
export function isNamed({ path, target }: LinearModule, name: string): boolean {
  return target === name || isEndOfPath(path, name);
}

/** True when `end` is the last part or parts of a path: PEFT's rule for module names. */
export function isEndOfPath(path: string, end: string): boolean {
  return `.${path}`.endsWith(`.${end}`);
}

/**
 * True when `path`, or a module that contains it, has a path with this end: PEFT's rule for
 * `modules_to_save`.
 */
export function isWithin(path: string, end: string): boolean {
  return ancestorsOf(path).some((module) => module.endsWith(end));
}

/** The path and the paths of all modules that contain it: `a.b` → `a`, `a.b`. */
export function ancestorsOf(path: string): string[] {
  const parts = path.split(".");
  return parts.map((_, i) => parts.slice(0, i + 1).join("."));
}

/**
 * True for names of the model's head and its layers, and for PEFT's general names for a classification head.
 */
export function namesHead(model: Pick<Model, "head">, name: string): boolean {
  return ["classifier", "score"].includes(name) ||
    headPathsOf(model.head).some((path) => isWithin(path, name));
}

/** The layers that `target` selects, before `layers` and `modulesToSave` are applied. */
function targetedModules(model: Targeted, { target }: Targeting): readonly LinearModule[] {
  if (target === "all-linear") return model.linears;
  if (target instanceof RegExp) return model.linears.filter(({ path }) => path.search(target) >= 0);
  if (!Array.isArray(target)) {
    throw new Error(
      `target is ${JSON.stringify(target)}: give a list of names such as ["${
        model.linears[0].target
      }"], a regular ` +
        `expression, or "all-linear"`,
    );
  }
  for (const name of target) {
    if (!model.linears.some((module) => isNamed(module, name))) {
      if (headPathsOf(model.head).some((path) => isEndOfPath(path, name))) {
        throw new Error(
          `"${name}" is in ${model.name}'s head, which is trained and saved whole: target layers under it, such as ${
            targetNames(model)
          }`,
        );
      }
      throw new Error(`${model.name} has no target module "${name}"; it has ${targetNames(model)}`);
    }
  }
  return model.linears.filter((module) => target.some((name) => isNamed(module, name)));
}

/**
 * The layers of `model` that `target` and `layers` select, except those in `modulesToSave`.
 * @throws Error that lists the available names when `target` or `layers` selects nothing.
 */
export function selectModules(model: Targeted, targeting: Targeting): readonly LinearModule[] {
  const { target, layers, modulesToSave = [] } = targeting;
  const named = targetedModules(model, targeting);
  if (named.length === 0) {
    throw new Error(`target ${target} matches no layer of ${model.name}; targets are ${targetNames(model)}`);
  }
  const targeted = named.filter(({ path }) => !modulesToSave.some((name) => isWithin(path, name)));
  if (targeted.length === 0) {
    throw new Error(
      `every layer that target selects is in modulesToSave (${modulesToSave}) and trained whole: take one of them out`,
    );
  }
  if (!layers) return targeted;
  if (layers.length === 0) throw new Error("layers is empty: name at least one, or leave it out");
  const byNumber = Map.groupBy(targeted, ({ path }) => layerOf(path));
  byNumber.delete(undefined);
  const [missing] = layers.filter((layer) => !byNumber.has(layer)).map(String);
  if (missing !== undefined) {
    const have = [...byNumber.keys()].join(", ");
    throw new Error(
      `${model.name} has no layer ${missing} with these targets${
        have ? `; it has ${have}` : ": no layer has a number"
      }`,
    );
  }
  return targeted.filter((module) => layers.some((layer) => byNumber.get(layer)!.includes(module)));
}

/**
 * Throws an Error for a layer or a module that stands alone where a list of them is meant, of which 0 would be taken for none, and
 * for patterns that are no object, whose entries would be none.
 */
export function checkForms(
  { layers, modulesToSave, rankPattern, alphaPattern }: Omit<Targeting, "target">,
): void {
  if (!Array.isArray(layers ?? [])) {
    throw new Error(`layers is ${JSON.stringify(layers)}: give a list of layers' numbers, such as [0, 1]`);
  }
  if (!Array.isArray(modulesToSave ?? [])) {
    const own = JSON.stringify(modulesToSave);
    throw new Error(`modulesToSave is ${own}: give a list of names, such as [${own}]`);
  }
  for (const [option, patterns] of Object.entries({ rankPattern, alphaPattern })) {
    if (Object.prototype.toString.call(patterns ?? {}) === "[object Object]") continue;
    throw new Error(
      `${option} is ${show(patterns)}: give an object of numbers by names of layers, such as { query: 4 }`,
    );
  }
}

/**
 * The number of the transformer layer that a path belongs to, if any. This follows PEFT: the first number that
 * comes after a part which is not the first, and before another (`encoder.layer.3.experts.0.up` → 3). Unlike PEFT,
 * it also handles paths that begin with the layers (`layer.3.…`).
 */
export function layerOf(path: string): number | undefined {
  const number = /.*?\.[^.]*\.(\d+)\./;
  const [, found] = path.match(number) ?? `.${path}`.match(number) ?? [];
  return found === undefined ? undefined : Number(found);
}

/**
 * `modulesToSave` extended by the model's newly initialised layers, named by their paths without the trunk's
 * name.
 */
export function withFresh(
  { fresh = [] }: Pick<Model, "fresh">,
  modulesToSave: readonly string[] | undefined,
): readonly string[] | undefined {
  const isSaved = (path: string): boolean =>
    modulesToSave?.some((module) => isEndOfPath(path, module)) ||
    (path.includes(".") && isSaved(moduleOf(path)));
  const added = fresh.filter((path) => !isSaved(path)).map((path) => path.slice(path.indexOf(".") + 1));
  return added.length > 0 ? [...modulesToSave ?? [], ...added] : modulesToSave;
}

/**
 * Names of the trained base weights: all of them if the method trains the base, otherwise those of
 * `modulesToSave`.
 * @throws Error when a module in `modulesToSave` does not exist or cannot be trained.
 */
export function trainedNames(model: Model, method: Method, { modulesToSave = [] }: Targeting): Set<string> {
  const names = [...model.weights.keys()];
  if (method.trainsBase) return new Set(names);
  const saved = modulesToSave.flatMap((module) => {
    const packed = [...model.packed?.keys() ?? []].find((name) => isWithin(moduleOf(name), module));
    if (packed) {
      throw new Error(`"${packed}" is packed and cannot be trained: take "${module}" out of modulesToSave`);
    }
    const found = names.filter((name) => isWithin(moduleOf(name), module));
    if (found.length === 0 && !namesHead(model, module)) {
      throw new Error(`${model.name} has no module "${module}" to train and save`);
    }
    if (found.some(isTablePart)) {
      throw new Error(
        `"${module}" has a table too large for one binding, which is kept in parts that PEFT's files have no names for: ` +
          `take it out of modulesToSave`,
      );
    }
    return found;
  });
  return new Set(saved);
}
