import { main } from '../../src/cli/main.ts'
import type { Terminal } from '../../src/cli/terminal.ts'

/** One command line with nobody at the keyboard; `change` says what is different, `env` at least. */
export async function runCli(
  line: string | readonly string[],
  change: Partial<Terminal> & Pick<Terminal, 'env'>,
) {
  let stdout = ''
  let stderr = ''
  const code = await main(typeof line === 'string' ? line.split(' ') : line, {
    cwd: '/nonexistent',
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
    columns: null,
    isInteractive: false,
    ask: () => Promise.reject(new Error('nobody is there to ask')),
    ...change,
  })
  return { code, stdout, stderr }
}
