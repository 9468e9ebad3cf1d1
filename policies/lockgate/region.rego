# METADATA
# title: Regions
# description: A tenant's targets stay in the tenant's regions.
package lockgate.region

import data.lockgate.parameters

# METADATA
# title: Region not allowed
# description: The target lies in a region that this tenant may not use.
# custom:
#   rule: region
#   severity: high
#   why: Where data and machines lie is a matter of law and contract, and no agent may move it.
#   fix: Choose a target in one of the tenant's regions, or ask an administrator to add the region.
violations contains {"rule": "region", "details": {"region": input.target.region, "tenant": input.tenant}} if {
	not allowed
}

allowed if parameters.regions[input.tenant][input.target.region]

allowed if parameters.regions[input.tenant]["*"]
