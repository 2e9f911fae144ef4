/** What lies beside the weights in a model's folder of transformers or sentence-transformers: it is fetched and copied with them. */

import { isFile, isFolder, namesIn } from "../files.ts";
import { modulesFile, poolingFile } from "./sentence_pooling.ts";

/** Files in the folder itself; each may be missing. */
export const describingFiles: readonly string[] = [
  "config.json",
  "generation_config.json",
  "chat_template.jinja",
  modulesFile,
  "sentence_bert_config.json",
  "config_sentence_transformers.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "tokenizer.model",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
  "sentencepiece.bpe.model",
];

/** The folder of the chat templates that have names, beside the one that has none. */
export const templatesFolder = "additional_chat_templates";

/** True for the path of such a template in a model's folder. */
export function isTemplate(path: string): boolean {
  const [folder, name, ...more] = path.split("/");
  return folder === templatesFolder && name?.endsWith(".jinja") && more.length === 0;
}

/** Paths of what there is of all this in `folder`. Throws as `poolingFile` does. */
export async function describingFilesIn(folder: string): Promise<string[]> {
  const pooling = await poolingFile(folder);
  const templates = await isFolder(`${folder}/${templatesFolder}`)
    ? await namesIn(`${folder}/${templatesFolder}`)
    : [];
  const paths = [
    ...describingFiles,
    ...pooling ? [pooling] : [],
    ...templates.map((name) => `${templatesFolder}/${name}`).filter(isTemplate),
  ];
  const areThere = await Promise.all(paths.map((path) => isFile(`${folder}/${path}`)));
  return paths.filter((_, i) => areThere[i]);
}
