/**
 * The form in which text that ignores case is compared, here and in every store: the databases
 * disagree about `lower`, so it is done once, in one place, before a value reaches them.
 */
export function normalise(text: string): string {
  return text.normalize('NFC').toLowerCase()
}

/** Whether every store gives the text back as it is: PostgreSQL keeps no NUL, and UTF-8 no half pairs. */
export function isStorableText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

/** Orders text as SQLite and PostgreSQL (collation C) do: by UTF-8 bytes, which JavaScript's `<` does not. */
export function compareText(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
