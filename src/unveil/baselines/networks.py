"""The networks to compare with, by name."""

from types import MappingProxyType

from unveil.baselines.drda import DrdaConfig
from unveil.baselines.drn import DrnConfig
from unveil.baselines.hourglass import HourglassConfig
from unveil.baselines.pfld import PfldConfig
from unveil.baselines.plain import PlainConfig
from unveil.baselines.rcpr import RcprConfig
from unveil.models.checkpoints import Networks, from_config

BASELINES: Networks = MappingProxyType(
    {
        "plain": from_config(PlainConfig),
        "hourglass": from_config(HourglassConfig),
        "pfld": from_config(PfldConfig),
        "drn": from_config(DrnConfig),
        "rcpr": from_config(RcprConfig),
        "drda": from_config(DrdaConfig),
    }
)
