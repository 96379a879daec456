/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine as ACPI describes it. Ports, interrupts and addresses are those of
 * devices/devices.h, tables.h and (C0000000h, where RAM ends at the latest) bus/guestmem.h.
 * COM2 is in com2.asl, because not every machine has it.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "BLKHD", "BULKHEAD", 1)
{
	/* Soft off: SLP_TYP of PM1a and PM1b (ACPI_SLEEP_TYPE_S5) */
	Name (_S5, Package () { 5, 5, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0D00, 0xFFFF, 0, 0xF300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite,
					0, 0xC0000000, 0xF7FFFFFF, 0, 0x38000000)
			})
		}

		/* VMBus root, with the windows in which its devices may be given memory. Windows are
		 * producers: what is in them is handed out by the guest's VMBus driver. */
		Device (VMOD)
		{
			Name (_HID, "ACPI0004")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					Cacheable, ReadWrite,
					0, 0xF8000000, 0xFEBFFFFF, 0, 0x06C00000)
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					Cacheable, ReadWrite,
					0, 0x0000010000000000, 0x00000101FFFFFFFF, 0, 0x0000000200000000)
			})

			Device (VMBS)
			{
				/* A method, because iasl refuses a constant that has not the length of
				 * a registered id; this is the id guests look for. */
				Method (_HID, 0, NotSerialized) { Return ("VMBus") }
				Name (_UID, 0)
				Name (_STA, 0x0F)
				/* Nothing in it; but Linux binds its driver only to a device that has one,
				 * and only a bound driver leaves the bus and comes back in hibernation. */
				Name (_CRS, ResourceTemplate () {})
			}
		}

		/* Ports that belong to the board: power management, reset, system control */
		Device (BRD0)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0092, 0x0092, 1, 1)
				IO (Decode16, 0x0600, 0x0600, 1, 0x0C)
				IO (Decode16, 0x0620, 0x0620, 1, 4)
			})
		}

		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 1, 2)
				IRQNoFlags () { 8 }
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03F8, 0x03F8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}
	}
}
