import type { ExitCode, Terminal } from '../terminal.ts'

export async function run(
  _options: { readonly keep: boolean; readonly json: boolean },
  _terminal: Terminal,
): Promise<ExitCode> {
  throw new Error('written next')
}
