/** The rank that vLLM is to be started with for an adapter. */

/** What vLLM accepts for --max-lora-rank (vllm/config/lora.py, `MaxLoRARanks`). */
const vllmRanks = [1, 8, 16, 32, 64, 128, 256, 320, 512];

/** What to tell the user of vLLM about an adapter of this rank. */
export function adviceOnVllm(rank: number): string {
  const least = vllmRanks.find((allowed) => allowed >= rank);
  return least === undefined
    ? `vLLM takes ranks up to ${vllmRanks.at(-1)}: export with --rank, or merge`
    : `vLLM: --max-lora-rank ${least} (it allows ${vllmRanks.join(", ")})`;
}
