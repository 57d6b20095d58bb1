import type { Provider } from '../../src/provider/contract.ts'

/** The provider with another inventory in place of its own. */
export function withInventory(
  provider: Provider,
  inventory: NonNullable<Provider['inventory']>,
): Provider {
  return new Proxy(provider, {
    get(target, property) {
      if (property === 'inventory') return inventory
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
