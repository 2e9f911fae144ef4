/**
 * Published sizes of the data sets that are read from a folder, so that a dry run needs no files.
 *
 * GLUE: rows and bytes of train from the data set card of `nyu-mll/glue` (Wang et al. 2019). A row's bytes
 * are its characters, 12 for label and index, and 4 per text. LLM-Adapters: rows of its
 * `dataset/<name>/{train,test}.json` (Hu et al. 2023, Table 1; the train rows sum to Commonsense170K's
 * 170,420). The numbers of characters there are rough means, not from a publication.
 */

/** The sizes of a data set. */
export interface PublishedSize {
  /** Training examples. */
  readonly train: number;
  /** Number of examples of each dev set; the first gives the headline score. */
  readonly dev: readonly number[];
  /** Texts per example: 1, 2, or the question and its options. */
  readonly texts: number;
  /** Mean number of characters per sequence: one text, a pair, or a question with one of its options. */
  readonly characters: number;
}

function glue(train: number, bytes: number, texts: number, ...dev: number[]): PublishedSize {
  return { train, dev, texts, characters: Math.round(bytes / train) - 12 - 4 * texts };
}

function choice(train: number, dev: number, options: number, characters: number): PublishedSize {
  return { train, dev: [dev], texts: 1 + options, characters };
}

const sizes: Readonly<Record<string, PublishedSize>> = {
  "CoLA": glue(8_551, 484_869, 1, 1_043),
  "SST-2": glue(67_349, 4_681_603, 1, 872),
  "MRPC": glue(3_668, 943_843, 2, 408),
  "QQP": glue(363_846, 50_900_820, 2, 40_430),
  "STS-B": glue(5_749, 754_791, 2, 1_500),
  "MNLI": glue(392_702, 74_619_646, 2, 9_815, 9_832),
  "QNLI": glue(104_743, 25_612_443, 2, 5_463),
  "RTE": glue(2_490, 847_320, 2, 277),
  "WNLI": glue(635, 107_109, 2, 71),
  "boolq": choice(9_427, 3_270, 2, 50),
  "piqa": choice(16_113, 1_838, 2, 140),
  "social_i_qa": choice(33_410, 1_954, 3, 140),
  "hellaswag": choice(39_905, 10_042, 4, 310),
  "winogrande": choice(63_238, 1_267, 2, 110),
  // A few questions have five options, so every example has room for five.
  "ARC-Easy": choice(2_251, 2_376, 5, 130),
  "ARC-Challenge": choice(1_119, 1_172, 5, 155),
  "openbookqa": choice(4_957, 500, 4, 75),
};

/** How much a decoder reads of LLM-Adapters' data. */
export interface WrittenSize {
  /** Rows. */
  readonly rows: number;
  /** Mean number of characters of a row: the prompt, with the answer in training. */
  readonly characters: number;
  /** How many of them are learnt in training; of tests 0. */
  readonly learnt: number;
}

/** Characters that a prompt has beside the instruction, runs of spaces as one: they are one token. */
const template = 120;

function tested(rows: number, instruction: number): WrittenSize {
  return { rows, characters: template + instruction, learnt: 0 };
}

function trained(rows: number, instruction: number, learnt: number): WrittenSize {
  return { rows, characters: template + instruction + learnt, learnt };
}

/** What decoders are trained and tested on. Rows are LLM-Adapters' (Hu et al. 2023, Table 1); characters as above. */
const written: Readonly<Record<string, WrittenSize>> = {
  "commonsense_170k": trained(170_420, 400, 30),
  "math_10k": trained(9_919, 220, 350),
  "boolq": tested(3_270, 140),
  "piqa": tested(1_838, 350),
  "social_i_qa": tested(1_954, 330),
  "hellaswag": tested(10_042, 800),
  "winogrande": tested(1_267, 260),
  "ARC-Easy": tested(2_376, 340),
  "ARC-Challenge": tested(1_172, 390),
  "openbookqa": tested(500, 260),
  "AddSub": tested(395, 150),
  "MultiArith": tested(600, 180),
  "SingleEq": tested(508, 140),
  "SVAMP": tested(1_000, 160),
  "gsm8k": tested(1_319, 240),
  "AQuA": tested(254, 240),
  "mawps": tested(238, 150),
};

/** The published size of what a decoder is trained or tested on. Throws an Error that lists the known names. */
export function writtenSize(name: string): WrittenSize {
  if (Object.hasOwn(written, name)) return written[name];
  throw new Error(`no published size of ${name}; have ${Object.keys(written).join(", ")}`);
}

/** The published size of a task that is read from a folder. Throws an Error that lists the known tasks. */
export function publishedSize(task: string): PublishedSize {
  if (Object.hasOwn(sizes, task)) return sizes[task];
  throw new Error(`no published size of ${task}; have ${Object.keys(sizes).join(", ")}`);
}
