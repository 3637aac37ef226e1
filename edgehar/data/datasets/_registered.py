"""Corpora that edgehar knows and has no loader for: what they hold, whose they are, where to get them."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from edgehar.data.downloads import Download, uci_file


class Registered(NamedTuple):
    """Facts as the documents of a corpus state them.

    people: how many. rate_hz: None where it differs from device to device; note: what
    else to know before choosing it.
    """

    name: str
    title: str
    url: str
    downloads: Tuple[Download, ...]
    licence: str
    citation: str
    people: int
    activities: Tuple[str, ...]
    sensors: Tuple[str, ...]
    placements: Tuple[str, ...]
    rate_hz: Optional[float]
    note: str

    @property
    def refusal(self) -> str:
        """Why nothing can be trained on it, and what to do about that."""
        return ("edgehar has no loader for %s; fetch it with `edgehar fetch %s`, write one file datasets/%s.py like "
                "edgehar/data/datasets/mhealth.py (facts, split, recordings()), and name it: `edgehar --plugin "
                "datasets/%s.py train --data %s`." % (self.title, *[self.name] * 4))


REGISTERED = (
    Registered(
        name="hhar", title="HHAR", url="https://archive.ics.uci.edu/dataset/344",
        downloads=(uci_file(344, "heterogeneity+activity+recognition.zip"),),
        licence="CC BY 4.0 (UCI repository)",
        citation="A. Stisen, H. Blunck, S. Bhattacharya, T. S. Prentow, M. B. Kjaergaard, A. Dey, T. Sonne, M. M. "
                 "Jensen, Smart Devices are Different: Assessing and Mitigating Mobile Sensing Heterogeneities for "
                 "Activity Recognition, ACM SenSys 2015",
        people=9, activities=("biking", "sitting", "standing", "walking", "stairs_up", "stairs_down"),
        sensors=("acc", "gyro"), placements=("waist", "arm"), rate_hz=None,
        note="eight phones of four models at the waist and four watches of two models on the arms, each as fast as it "
             "can, each with its own clock"),
    Registered(
        name="pamap2", title="PAMAP2", url="https://archive.ics.uci.edu/dataset/231",
        downloads=(uci_file(231, "pamap2+physical+activity+monitoring.zip"),),
        licence="CC BY 4.0 (UCI repository)",
        citation="A. Reiss, D. Stricker, Introducing a New Benchmarked Dataset for Activity Monitoring, ISWC 2012, "
                 "108-109",
        people=9, activities=(
            "lying", "sitting", "standing", "walking", "running", "cycling", "nordic_walking", "watching_tv",
            "computer_work", "car_driving", "ascending_stairs", "descending_stairs", "vacuum_cleaning", "ironing",
            "folding_laundry", "house_cleaning", "playing_soccer", "rope_jumping"),
        sensors=("acc", "gyro", "mag", "temperature", "heart_rate"), placements=("wrist", "chest", "ankle"),
        rate_hz=100.0,
        note="wrist and ankle of the dominant side; heart rate at about 9 Hz; six of the activities were optional"),
    Registered(
        name="realdisp", title="REALDISP", url="https://archive.ics.uci.edu/dataset/305",
        downloads=(uci_file(305, "realdisp+activity+recognition+dataset.zip"),),
        licence="CC BY 4.0, as the UCI repository has it in general; not seen stated for this corpus",
        citation="O. Banos, M. A. Toth, M. Damas, H. Pomares, I. Rojas, Dealing with the Effects of Sensor "
                 "Displacement in Wearable Activity Recognition, Sensors 14(6):9995-10023, 2014",
        people=17, activities=(
            "walking", "jogging", "running", "jump_up", "jump_front_and_back", "jump_sideways",
            "jump_leg_arms_open_closed", "jump_rope", "trunk_twist_arms_outstretched", "trunk_twist_elbows_bent",
            "waist_bends_forward", "waist_rotation", "waist_bends_reach_foot", "reach_heels_backwards", "lateral_bend",
            "lateral_bend_arm_up", "repetitive_forward_stretching", "upper_trunk_and_lower_body_opposite_twist",
            "lateral_elevation_of_arms", "frontal_elevation_of_arms", "frontal_hand_claps", "frontal_crossing_of_arms",
            "shoulders_high_rotation", "shoulders_low_rotation", "arms_inner_rotation", "knees_to_breast",
            "heels_to_backside", "knees_bending_crouching", "knees_bending_forward", "rotation_on_the_knees", "rowing",
            "elliptical_bike", "cycling"),
        sensors=("acc", "gyro", "mag", "orientation"), placements=(
            "left_calf", "left_thigh", "left_lower_arm", "left_upper_arm", "back", "right_calf", "right_thigh",
            "right_lower_arm", "right_upper_arm"),
        rate_hz=50.0,
        note="worn as prescribed, as people put the sensors on themselves, and displaced on purpose (of three people)"),
    Registered(
        name="realworld", title="RealWorld (HAR) 2016",
        url="https://www.uni-mannheim.de/dws/research/projects/activity-recognition/dataset/dataset-realworld/",
        downloads=(Download("http://wifo5-14.informatik.uni-mannheim.de/sensor/dataset/realworld2016/"
                            "realworld2016_dataset.zip", "realworld2016_dataset.zip"),),
        licence="none known to edgehar; ask the authors before passing it on",
        citation="T. Sztyler, H. Stuckenschmidt, On-body Localization of Wearable Devices: An Investigation of "
                 "Position-Aware Activity Recognition, IEEE PerCom 2016",
        people=15, activities=(
            "climbing_down", "climbing_up", "jumping", "lying", "standing", "sitting", "running", "walking"),
        sensors=("acc", "gyro", "mag", "gps", "light", "sound_level"), placements=(
            "chest", "forearm", "head", "shin", "thigh", "upper_arm", "waist"),
        rate_hz=50.0,
        note="seven devices at once, each with its own clock; its address has no https, so that nothing protects it on "
             "the way"),
)
