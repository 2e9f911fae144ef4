/** Models of shapes alone, which are run on token ids and read no texts. */

import { type Model, plainHead, type Tokenizer } from "./model.ts";
import { comparedPairs } from "./pairing.ts";

const tokenizer: Tokenizer = { encode: () => [0] };

/** What such a model has for reading texts: every text is token 0, and its vector is the mean of its rows. */
export const textless: Pick<Model, "pooling" | "head" | "tokenizer" | "pairing"> = {
  pooling: "mean",
  head: plainHead,
  tokenizer,
  pairing: comparedPairs(tokenizer),
};
