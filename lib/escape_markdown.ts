/** Texts of others in markdown. */

/** Characters that are invisible but change what is displayed: controls, and marks of text direction. */
const unseen = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Escapes `text` so that markdown shows it literally and on one line: no markup, HTML, table columns or
 * controls.
 */
export function escapeMarkdown(text: string): string {
  return text.replaceAll(/\s+/g, " ").replaceAll(unseen, "").replaceAll(/[\\`*_[\]|~$@]/g, "\\$&")
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** `text` as code in markdown, which shows it literally, on one line. */
export function codeMarkdown(text: string): string {
  return `\`${text.trim().replaceAll(/\s+/g, " ").replaceAll(unseen, "").replaceAll("`", "'")}\``;
}
