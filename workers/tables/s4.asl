/* SPDX-License-Identifier: Apache-2.0
 *
 * Hibernation. In a table of its own, because a guest that finds it does without dynamic memory.
 */
DefinitionBlock ("s4.aml", "SSDT", 2, "BLKHD", "BLKS4", 1)
{
	/* Sleep to disk: SLP_TYP of PM1a and PM1b (ACPI_SLEEP_TYPE_S4) */
	Name (\_S4, Package () { 4, 4, 0, 0 })
}
