/** The layers that the commands adapt unless others are named. */

/** Of encoders. */
export const defaultTarget = ["query", "value"];

/** Of decoders. */
export const decoderTarget = ["q_proj", "k_proj", "v_proj"];
