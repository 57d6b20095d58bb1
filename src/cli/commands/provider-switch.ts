import type { Command } from 'commander'
import { apiCommand, type Cli, confirm, printJson } from '../command.ts'

const words = {
  suspend: {
    description: 'stop everything that was issued there, at once, until it is resumed',
    question: (name: string) =>
      `Every token of "${name}" stops working, whoever uses it, and Custody's own access with it.`,
    done: (name: string) =>
      `${name} is suspended. Take it back with: custody provider resume ${name} --reason …\n`,
  },
  resume: {
    description: 'take a suspension back: what has not ended meanwhile works again',
    question: (name: string) => `Tokens of "${name}" that have not ended work again.`,
    done: (name: string) => `${name} is resumed.\n`,
  },
} as const

/** `suspend` and `resume` below the noun `provider`. */
export function registerProviderSwitch(noun: Command, cli: Cli): void {
  for (const act of ['suspend', 'resume'] as const) {
    const { description, question, done } = words[act]
    apiCommand<{ reason?: string; yes?: boolean }>(
      noun
        .command(`${act} <name>`)
        .description(description)
        .requiredOption('--reason <text>', 'kept in the audit log')
        .option('--yes', 'do not ask'),
      cli,
      async ({ api, options, terminal }, name) => {
        await confirm(question(name), options, terminal)
        const route = `/api/v1/providers/${encodeURIComponent(name)}/${act}`
        const { body } = await api.send('POST', route, { reason: options.reason })
        if (options.json) printJson(body, terminal)
        else terminal.stderr(done(name))
      },
    )
  }
}
