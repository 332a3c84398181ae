"""Subjects known by name: cut-outs of things, animals, food, plants, vehicles and buildings, each with its words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Cutout = NDArray[np.uint8]  # H×W×4, RGBA

SIZE = 256
_LONGER = 200  # pixels of a cut-out's longer side on its square of SIZE
_OPAQUE = 24  # of 255: what is fainter is a shadow's rim and no part of the cut-out's extent


@dataclass(frozen=True, kw_only=True)
class Subject:
    """``code``: the picture's file name among the emoji. ``words``: its name first, then what else it is called."""

    code: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.words[0]


#: ``code name/other name``, between semicolons.
_TABLE = """
1f98a fox; 1f436 dog face/puppy; 1f415 dog; 1f431 cat face/kitten; 1f408 cat; 1f981 lion; 1f42f tiger face; 1f405
tiger; 1f406 leopard; 1f434 horse face; 1f40e horse/pony; 1f984 unicorn; 1f993 zebra; 1f98c deer/stag; 1f9ac bison;
1f42e cow face; 1f404 cow; 1f437 pig face; 1f416 pig; 1f417 boar/wild boar; 1f411 sheep/lamb; 1f410 goat; 1f42a
camel/dromedary; 1f999 llama/alpaca; 1f992 giraffe; 1f418 elephant; 1f9a3 mammoth; 1f98f rhinoceros/rhino; 1f99b
hippopotamus/hippo; 1f42d mouse face; 1f401 mouse; 1f439 hamster; 1f430 rabbit face/bunny; 1f407 rabbit/hare; 1f43f
chipmunk/squirrel; 1f9ab beaver; 1f994 hedgehog; 1f987 bat; 1f43b bear; 1f428 koala; 1f43c panda; 1f9a5 sloth; 1f9a6
otter; 1f9a8 skunk; 1f998 kangaroo; 1f983 turkey; 1f414 hen/chicken; 1f413 rooster/cock; 1f424 chick/baby chick; 1f423
hatching chick; 1f426 bird; 1f427 penguin; 1f54a dove/pigeon; 1f985 eagle; 1f986 duck; 1f9a2 swan; 1f989 owl; 1f9a4
dodo; 1f9a9 flamingo; 1f99a peacock; 1f99c parrot; 1f438 frog; 1f40a crocodile/alligator; 1f422 turtle/tortoise; 1f98e
lizard; 1f40d snake; 1f432 dragon face; 1f409 dragon; 1f995 dinosaur/sauropod; 1f996 tyrannosaurus/t-rex; 1f40b whale;
1f42c dolphin; 1f9ad seal; 1f41f fish; 1f420 tropical fish; 1f421 blowfish/pufferfish; 1f988 shark; 1f419 octopus;
1f41a seashell/shell; 1fab8 coral; 1f40c snail; 1f98b butterfly; 1f41b caterpillar; 1f41c ant; 1f41d bee/honeybee;
1fab2 beetle; 1f41e ladybird/ladybug; 1f577 spider; 1f578 spider web/cobweb; 1f982 scorpion; 1f980 crab; 1f99e
lobster; 1f990 shrimp/prawn; 1f991 squid; 1f435 monkey face; 1f412 monkey; 1f98d gorilla; 1f9a7 orangutan; 1f43a wolf;
1f99d raccoon; 1f9b4 bone; 1f43e paw prints; 1fab6 feather; 1faba nest with eggs/nest;

1f490 bouquet/bunch of flowers; 1f338 cherry blossom; 1f339 rose/red rose; 1f33a hibiscus; 1f33b sunflower; 1f33c
daisy/yellow flower; 1f337 tulip; 1fab7 lotus; 1fab4 potted plant/house plant; 1f332 fir tree/evergreen; 1f333 tree;
1f334 palm tree/palm; 1f335 cactus; 2618 shamrock; 1f340 four leaf clover; 1f341 maple leaf; 1f342 fallen
leaves/autumn leaves; 1f344 mushroom/toadstool; 1f330 chestnut; 1fab5 log/wood; 1faa8 rock/stone;

1f347 grapes; 1f348 melon; 1f349 watermelon; 1f34a tangerine/orange fruit; 1f34b lemon; 1f34c banana; 1f34d pineapple;
1f96d mango; 1f34e red apple/apple; 1f34f green apple; 1f350 pear; 1f351 peach; 1f352 cherries/cherry; 1f353
strawberry; 1fad0 blueberries; 1f95d kiwi; 1f345 tomato; 1fad2 olive; 1f965 coconut; 1f951 avocado; 1f346
aubergine/eggplant; 1f954 potato; 1f955 carrot; 1f33d corn/maize; 1f336 hot pepper/chilli; 1fad1 bell pepper; 1f952
cucumber; 1f96c lettuce; 1f966 broccoli; 1f9c4 garlic; 1f9c5 onion; 1f95c peanuts; 1fad8 beans; 1f35e bread/loaf of
bread; 1f950 croissant; 1f956 baguette; 1f968 pretzel; 1f96f bagel; 1f95e pancakes; 1f9c7 waffle; 1f9c0 cheese; 1f356
meat on a bone; 1f357 chicken leg; 1f969 steak; 1f953 bacon; 1f354 hamburger/burger; 1f35f french fries/chips; 1f355
pizza/slice of pizza; 1f32d hot dog; 1f96a sandwich; 1f32e taco; 1f95a egg; 1f373 fried egg; 1f957 salad; 1f37f
popcorn; 1f9c8 butter; 1f35c noodle soup/ramen; 1f35d spaghetti/pasta; 1f363 sushi; 1f364 fried shrimp; 1f366 ice
cream cone/soft ice; 1f368 ice cream; 1f369 doughnut/donut; 1f36a cookie/biscuit; 1f382 birthday cake; 1f370 slice of
cake/cake; 1f9c1 cupcake/muffin; 1f967 pie; 1f36b chocolate; 1f36c candy/sweet; 1f36d lollipop; 1f36e pudding; 1f36f
honey; 1f95b glass of milk/milk; 2615 coffee/cup of coffee; 1fad6 teapot; 1f375 cup of tea/tea; 1f37e champagne; 1f377
wine glass/wine; 1f378 cocktail; 1f379 tropical drink; 1f37a beer; 1f943 whisky; 1f9cb bubble tea; 1f9c3 juice box;
1f944 spoon; 1f52a kitchen knife/knife; 1fad9 jar; 1f3fa amphora/vase; 1f962 chopsticks; 1f9ca ice cube; 1f9c2 salt
shaker/salt;

1f30d globe/earth; 1f9ed compass; 1f3d4 snowy mountain; 26f0 mountain; 1f30b volcano; 1f5fb mount fuji; 1f3d6 beach;
1f3dc desert; 1f3dd desert island/island; 1f3db temple/museum; 1f6d6 hut; 1f3d8 village/row of houses; 1f3e0 house;
1f3e5 hospital; 1f3e8 hotel; 1f3eb school; 1f3ed factory; 1f3ef japanese castle; 1f3f0 castle; 1f5fc tower; 1f5fd
statue of liberty; 26ea church; 1f54c mosque; 26e9 shrine/torii; 26f2 fountain; 26fa tent; 1f3a0 carousel horse; 1f3a1
ferris wheel; 1f3a2 roller coaster; 1f3aa circus tent/circus; 1f30a wave/sea wave; 1f5ff stone head/moai;

1f682 steam train/locomotive; 1f684 fast train; 1f686 train; 1f68c bus; 1f691 ambulance; 1f692 fire engine/fire truck;
1f693 police car; 1f695 taxi; 1f697 car; 1f699 jeep/off-road car; 1f6fb pickup truck; 1f69a truck/lorry; 1f69c
tractor; 1f3ce racing car; 1f3cd motorcycle/motorbike; 1f6f5 scooter/moped; 1f6b2 bicycle/bike; 1f6f4 kick scooter;
1f6f9 skateboard; 1f6fc roller skate; 1f6de wheel/tyre; 1f6a6 traffic light; 2693 anchor; 1f6df lifebuoy; 26f5 sailing
boat/sailboat; 1f6f6 canoe; 1f6a4 speedboat; 1f6f3 cruise ship; 26f4 ferry; 1f6a2 ship; 2708 aeroplane/airplane/plane;
1fa82 parachute; 1f681 helicopter; 1f6f0 satellite; 1f680 rocket/space rocket; 1f6f8 flying saucer/ufo; 1f6f7 sled;

1f319 crescent moon; 1f315 full moon/moon; 2600 sun; 1fa90 planet/saturn; 2b50 star; 1f320 shooting star; 2604 comet;
2601 cloud; 26c5 sun behind a cloud; 26c8 thundercloud/thunderstorm; 1f327 rain cloud/rain; 1f32a tornado; 1f308
rainbow; 2602 umbrella; 26a1 lightning/lightning bolt; 2744 snowflake; 2603 snowman; 1f525 fire/flame; 1f4a7 drop of
water/droplet;

1f383 pumpkin lantern/halloween pumpkin; 1f384 christmas tree; 1f386 fireworks; 1f388 balloon; 1f389 party popper;
1f380 ribbon/bow; 1f381 gift/present; 1f3c6 trophy; 1f3c5 medal; 26bd football/soccer ball; 26be baseball; 1f3c0
basketball; 1f3d0 volleyball; 1f3c8 american football; 1f3be tennis racket; 1f3b3 bowling; 1f94a boxing glove; 26f8
ice skate; 1f3af target/dartboard; 1fa81 kite; 1f3b1 billiard ball; 1f52e crystal ball; 1fa84 magic wand; 1f3ae game
controller; 1f579 joystick; 1f3b2 dice; 1f9e9 puzzle piece; 1f9f8 teddy bear; 1fa86 nesting doll/matryoshka; 1f3ad
theatre masks; 1f3a8 palette/paint palette; 1f9f6 ball of yarn;

1f453 glasses/spectacles; 1f576 sunglasses; 1f454 necktie/tie; 1f455 t-shirt/shirt; 1f456 jeans/trousers; 1f9e3 scarf;
1f9e4 gloves; 1f9e5 coat; 1f9e6 socks; 1f457 dress; 1f458 kimono; 1f45c handbag; 1f392 backpack/school bag; 1f45e
shoe; 1f45f trainer/sneaker; 1f97e hiking boot/boot; 1f460 high heel; 1f452 sun hat; 1f3a9 top hat/hat; 1f393
graduation cap; 1f9e2 baseball cap/cap; 1fa96 helmet; 1f48d ring/diamond ring; 1f48e diamond/gem; 1f451 crown; 1f484
lipstick;

1f4e3 megaphone; 1f514 bell; 1f3a4 microphone; 1f3a7 headphones; 1f4fb radio; 1f3b7 saxophone; 1fa97 accordion; 1f3b8
guitar; 1f3b9 piano/keyboard; 1f3ba trumpet; 1f3bb violin/fiddle; 1fa95 banjo; 1f941 drum; 1f3b5 musical note/note;
1f4f1 phone/smartphone; 260e telephone; 1f50b battery; 1f4bb laptop; 1f5a5 computer; 1f5a8 printer; 1f4be floppy disk;
1f4fa television/tv; 1f4f7 camera; 1f3a5 film camera; 1f50d magnifying glass; 1f56f candle; 1f4a1 light bulb; 1f526
torch/flashlight; 1f3ee red lantern/lantern; 1f4d6 open book; 1f4d5 book/red book; 1f4da books/pile of books; 1f4dc
scroll; 1f4b0 bag of money; 1fa99 coin; 2709 envelope/letter; 1f4e6 parcel/box; 1f4ee postbox; 1f58b fountain pen;
1f58c paintbrush/brush; 1f4bc briefcase; 2702 scissors; 1f512 padlock/lock; 1f511 key; 1f528 hammer; 1fa93 axe; 2694
crossed swords/swords; 1f4a3 bomb; 1fa83 boomerang; 1f3f9 bow and arrow; 1f6e1 shield; 1fa9a saw; 1f527
wrench/spanner; 1fa9b screwdriver; 2699 gear/cog; 2696 scales; 1f9f2 magnet; 1fa9c ladder; 1f52c microscope; 1f52d
telescope; 1f4e1 satellite dish; 1f489 syringe; 1f6aa door; 1fa9e mirror; 1fa9f window; 1f6cf bed; 1f6cb sofa/couch;
1fa91 chair; 1f6bd toilet; 1f6c1 bathtub/bath; 1f9f9 broom; 1f9fa basket; 1faa3 bucket; 1faa5 toothbrush; 1f9ef fire
extinguisher; 231a wristwatch/watch; 23f0 alarm clock; 231b hourglass; 1f9f3 suitcase; 1faa9 disco ball/mirror ball;

1f642 smiley/smiling face; 1f60e face with sunglasses; 1f622 crying face; 1f621 angry face; 1f929 starry eyes face;
1f920 cowboy face; 1f921 clown; 1f47b ghost; 1f47d alien; 1f916 robot; 1f480 skull; 1f476 baby; 1f466 boy; 1f467 girl;
1f468 man; 1f469 woman; 1f474 old man/grandfather; 1f475 old woman/grandmother; 1f478 princess; 1f934 prince; 1f385
santa claus/father christmas; 1f9d9 wizard/mage; 1f9da fairy; 1f9db vampire; 1f9dc mermaid; 1f9df zombie; 1f977 ninja;
1f483 dancer; 1f9d1-200d-1f680 astronaut; 1f9d1-200d-1f373 cook/chef; 2764 heart/red heart; 1f499 blue heart; 1f440
eyes; 1f444 lips/mouth; 1f9e0 brain; 1f9b7 tooth; 1f44d thumbs up; 1f44b waving hand
"""


def _read_table() -> tuple[Subject, ...]:
    entries = (entry.strip().partition(" ") for entry in " ".join(_TABLE.split()).split(";"))
    return tuple(Subject(code=code, words=tuple(words.split("/"))) for code, _, words in entries)


SUBJECTS = _read_table()


def prepare(folder: Path, pictures: list[Path]) -> int:
    """Write ``subjects.npy`` (N×256×256×4, uint8 RGBA) and ``subjects.json`` (names); ``pictures``: the emoji's files.

    A subject whose picture isn't among them is left out. Returns how many there are.
    """
    files = {path.stem.replace("-fe0f", ""): path for path in pictures}
    there = [subject for subject in SUBJECTS if subject.code in files]
    stack = [cut_out(_read(files[subject.code])) for subject in there]
    partial = folder / "subjects.part.npy"  # what reads the old file goes on with it
    np.save(partial, np.stack(stack) if stack else np.zeros((0, SIZE, SIZE, 4), np.uint8))
    partial.replace(folder / "subjects.npy")
    (folder / "subjects.json").write_text(json.dumps([subject.name for subject in there], indent=0), encoding="utf-8")
    return len(there)


def words_of(name: str) -> tuple[str, ...]:
    """What a subject is called; one that isn't in the table has its name alone."""
    return _WORDS.get(name, (name,))


def cut_out(picture: Cutout) -> Cutout:
    """256×256×4 RGBA: what is opaque in the middle, its longer side 200 pixels."""
    rows, columns = np.nonzero(picture[..., 3] > _OPAQUE)
    inner = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    inner[..., :3] *= inner[..., 3:] / 255  # premultiplied, so that what is unseen doesn't bleed in
    scale = _LONGER / max(inner.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (inner.shape[1], inner.shape[0]))
    inner = cv2.resize(inner, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    inner = np.clip(inner, 0, 255)
    inner[..., :3] = np.clip(inner[..., :3] * 255 / np.maximum(inner[..., 3:], 1), 0, 255)
    square = np.zeros((SIZE, SIZE, 4), np.uint8)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    square[top : top + height, left : left + width] = np.rint(inner)
    return square


def _read(path: Path) -> Cutout:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA), np.uint8)


_WORDS = {subject.name: subject.words for subject in SUBJECTS}
