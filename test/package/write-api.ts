import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderApi } from './api-report.ts'
import { ROOT } from './library.ts'
import { renderOptions } from './options-table.ts'

const api = renderApi()
writeFileSync(join(ROOT, 'docs/API.md'), api)
writeFileSync(join(ROOT, 'docs/OPTIONS.md'), renderOptions(api))
