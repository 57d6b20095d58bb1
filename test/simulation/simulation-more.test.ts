import { simulationSuite } from './suite.ts'

// A file of its own, so that both halves run at once.
simulationSuite({ seeds: 40, offset: 40, timeoutSeconds: 150 })
