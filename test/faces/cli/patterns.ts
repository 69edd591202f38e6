/** An id of a sandbox as the JSON answers print it. */
export const SANDBOX_ID = /"sandbox_id": "([0-9a-z]{10})"/;

/** Any escape sequence of a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
export const ESCAPE = /\u001b\[/;

export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the purpose
  return text.replaceAll(/\u001b\[[0-9;?]*[a-zA-Z]/g, '').replaceAll(/\r+\n/g, '\n');
}
