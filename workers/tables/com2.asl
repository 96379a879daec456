/* SPDX-License-Identifier: Apache-2.0
 *
 * The second serial port.
 */
DefinitionBlock ("com2.aml", "SSDT", 2, "BLKHD", "BLKCOM2", 1)
{
	Scope (\_SB)
	{
		Device (COM2)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 2)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x02F8, 0x02F8, 1, 8)
				IRQNoFlags () { 3 }
			})
		}
	}
}
