import { simulationSuite } from './suite.ts'

// A file of its own, so that both halves run at once.
simulationSuite({ seeds: 150, offset: 150, timeoutSeconds: 150 })
