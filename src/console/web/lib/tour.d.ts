/** For the terminal of the demo, which ticks the same steps as the browser. */
export interface TourStep {
  readonly id: string
  readonly title: string
  readonly sentence: string
  readonly path: string
  readonly isDoneBy: (event: { readonly type: string; readonly facts: unknown }) => boolean
  readonly isDoneAt: (seen: {
    readonly screen: string
    readonly query: string
    readonly mark: string | null
  }) => boolean
}
export declare const tourSteps: readonly TourStep[]
