import type { Terminal } from './terminal.ts'

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

export interface Progress {
  /** What is waited for now; the line before it is overwritten. */
  tell(text: string): void
  /** The line is gone, for what is to stay. */
  clear(): void
}

/** One line on stderr that says what is waited for, and since when; nothing where nobody looks. */
export function progress(terminal: Terminal, isWanted: boolean, now = Date.now): Progress {
  const began = now()
  let turn = 0
  let isShown = false
  return {
    tell(text) {
      if (!isWanted || !terminal.isInteractive) return
      isShown = true
      const seconds = Math.floor((now() - began) / 1_000)
      terminal.stderr(`\r\u001B[K${frames[turn++ % frames.length]} ${text} (${seconds} s)`)
    },
    clear() {
      if (isShown) terminal.stderr('\r\u001B[K')
      isShown = false
    },
  }
}
