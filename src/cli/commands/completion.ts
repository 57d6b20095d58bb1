import { Argument, type Command } from 'commander'
import type { Cli } from '../command.ts'

const shells = ['bash', 'zsh', 'fish'] as const

/** `custody completion SHELL`. */
export function registerCompletion(program: Command, { terminal }: Cli): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'which one reads it').choices(shells))
    .description('print the script by which a shell completes command lines')
    .action(async (shell: (typeof shells)[number]) => {
      const { completionScript } = await import('../completion.ts')
      terminal.stdout(completionScript(program, shell))
    })
}
