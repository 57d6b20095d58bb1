import { useRead } from '../lib/data.js'
import { html } from '../lib/html.js'
import { link } from '../lib/router.js'
import { FindingsPart } from '../parts/findings.js'
import { Gate } from '../parts/gate.js'
import { ImportScreen } from '../parts/import-plan.js'
import { Card, Page } from '../parts/page.js'
import { ProviderScreen } from '../parts/provider.js'
import { Empty, Shown } from '../parts/states.js'
import { Table } from '../parts/table.js'
import { Text } from '../parts/text.js'

/** @param {{ place: import('../lib/router.js').Place }} props */
export function ProvidersScreen({ place }) {
  const [name, part] = place.rest
  if (name && part === 'import') return html`<${ImportScreen} name=${name} />`
  if (name) return html`<${ProviderScreen} name=${name} place=${place} />`
  return html`<${All} place=${place} />`
}

const lookEveryMs = 15_000

/** @param {{ place: import('../lib/router.js').Place }} props */
function All({ place }) {
  const read = useRead('/api/v1/providers', { concerns: () => false, everyMs: lookEveryMs })
  return html`<${Page}
    title="Providers"
    lead="Where credentials live, where they are delivered, how calls there fare, and what lies there that nobody wrote down."
  >
    <${Card} title="Providers and sinks">
      <${Shown} read=${read} what="Reading the providers">
        ${(/** @type {any} */ data) =>
          data.items.length === 0
            ? html`<${Empty} title="No provider is configured.">
                Name one under <code>providers:</code> in <code>custody.yaml</code> and restart; or
                begin with <code>custody sandbox</code>, which brings an AWS and a GitHub of its
                own.
              <//>`
            : html`<${Table}
                caption="Providers and sinks"
                columns=${columns}
                rows=${data.items}
                keyOf=${(/** @type {any} */ row) => `${row.role} ${row.name}`}
                hrefOf=${hrefOf}
                actionsOf=${(/** @type {any} */ row) =>
                  row.can.discover && row.can.adopt
                    ? html`<a
                        class="button small-button"
                        href=${link(['providers', row.name, 'import'])}
                        >Import<span class="hidden"> from ${row.name}</span></a
                      >`
                    : null}
              />`}
      <//>
    <//>
    <${FindingsPart} place=${place} />
  <//>`
}

/** @param {any} row */
function hrefOf(row) {
  return link(['providers', row.name], { role: row.role === 'sink' ? 'sink' : null })
}

/** @type {readonly import('../parts/table.js').Column[]} */
const columns = [
  { title: 'Name', isMain: true, show: (row) => html`<${Text} value=${row.name} />` },
  { title: 'Type', show: (row) => html`<${Text} value=${row.type} />` },
  { title: 'Role', show: (row) => row.role },
  {
    title: 'Issues',
    show: (row) =>
      row.kinds.length === 0
        ? html`<span class="none">–</span>`
        : row.kinds.map((/** @type {any} */ k) => k.kind).join(', '),
  },
  { title: 'Calls', show: (row) => html`<${Gate} gate=${row.gate} />` },
]
