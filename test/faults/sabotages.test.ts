// The name that the mutants' test had: whoever lands by it still checks that the patches apply.
import './mutants/mutants.test.ts'
