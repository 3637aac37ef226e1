"""edgehar: wearable-sensor recordings in, a verified real-time activity recogniser out.

The way of the data::

    Recording -cut-> Windows -fit-> (Model) -export-> Artifact -build-> Engine -open-> Session -Stream-> Decision
                                                                            \\-- bench -> Run{Measurement} -> report

The house (imports go strictly down; a plural folder is an open room, a singular
module is finished machinery; modules marked (torch) are the host wing, the rest is
the device wing and runs on Python 3.8 without torch)::

    roof    cli/          one command, one file
    floor 5 bench         engine x scenario -> Run
            export        trained model -> Artifact                     (torch)
    floor 4 stream        samples in, decisions out
            training      one loop for teachers and students            (torch)
            report        Runs -> one HTML page
    floor 3 backends/     Artifact -> Engine -> Session: ort
            sources/      where samples come from: csv, replay
            augment       one augmented view for teacher and student    (torch)
            distillers/   one file a method: none, kd, label_smoothing  (torch)
            plots         rows as pictures
    floor 2 datasets/     one file a corpus
            models/       one file a network family                     (torch)
            sinks/        where decisions go
            quantise      activation ranges, and graphs with INT8 convolutions
            tables        Runs -> rows, as a terminal, a page or Markdown shows them
    floor 1 registry      open rooms: plug-ins found by file name
            artifact      an exported model that can be checked
            graph         what an ONNX graph may hold for TensorRT 8.5
            splits        who is trained on, who is tested on
            scoring       metrics over classes and people
            results       numbers kept raw
            machine       where they were measured
    floor 0 errors        one sentence and an exit code
            signals       Channel, Recording, Windows, Decision
            files         written whole or not at all
"""

__version__ = "0.1.0"
