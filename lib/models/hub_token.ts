/** The user's token for the Hugging Face hub. */

/**
 * The token in `HF_TOKEN` of the environment, without spaces and line feeds around it; undefined where there is none.
 * @throws Error that does not quote it, when it is none of the hub's at `hubUrl`.
 */
export function hubToken(hubUrl: string): string | undefined {
  const token = Deno.env.get("HF_TOKEN")?.trim();
  // Checked here, because what refuses a header quotes it.
  if (!token || /^hf_[!-~]+$/.test(token)) return token || undefined;
  throw new Error(
    `HF_TOKEN is no token of the hub's, which begin with hf_ and have no spaces in them: ${hubUrl}/settings/tokens makes one`,
  );
}
